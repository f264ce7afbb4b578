"""The adapter of ``gymnasium.vector`` against SB3's DummyVecEnv of monitored environments, step for step."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers import TimeLimit, TransformObservation
from gymnasium.wrappers import vector as vector_wrappers
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.gymnasium_vec_env import dropping_autoreset_steps, transition_rows
from tests.environments import CountingEnv, DictCountingEnv, NextStepVectorEnv, RandomEpisodesEnv

IMAGE = spaces.Box(0, 255, (4, 3, 3), np.uint8)
OBSERVATION_SPACES = [
    spaces.Box(-1, 1, (3,), np.float32),
    spaces.Box(-1, 1, (2, 2), np.float64),
    IMAGE,
    spaces.Discrete(5),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(4),
    spaces.Dict({"image": IMAGE, "number": spaces.Discrete(3), "vector": spaces.Box(-1, 1, (2,), np.float32)}),
]
ACTION_SPACES = [
    spaces.Discrete(3),
    spaces.Box(-1, 1, (2,), np.float32),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
]
BUILT_IN = [
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP, copy=False),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP, copy=False),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED),
]
Makers = list[Callable[[], gym.Env]]


def random_envs(observation_space: spaces.Space, action_space: spaces.Space, n_envs: int, p: float = 0.2) -> Makers:
    return [lambda: RandomEpisodesEnv(observation_space, action_space, p)] * n_envs


def monitored(makers: Makers) -> DummyVecEnv:
    return DummyVecEnv([lambda make_env=make_env: Monitor(make_env()) for make_env in makers])


def random_actions(space: spaces.Space, n_steps: int, n_envs: int) -> np.ndarray:
    space = copy.deepcopy(space)
    space.seed(0)
    return np.array([[space.sample() for _ in range(n_envs)] for _ in range(n_steps)])


def assert_equal(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_equal(ours[key], theirs[key])
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None) or np.ndim(theirs) == 0


def without_time(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "episode": {key: value for key, value in info["episode"].items() if key != "t"}}


def assert_same_traces(ours: VecEnv, theirs: VecEnv, actions: np.ndarray, seed: int = 3) -> int:
    """Step both with the same actions and compare everything; give the number of episodes that ended."""
    assert ours.seed(seed) == theirs.seed(seed)
    observations = ours.reset()
    assert_equal(observations, theirs.reset())
    assert ours.reset_infos == theirs.reset_infos
    n_ended = 0
    for action in actions:
        before = copy.deepcopy(observations)
        new_observations, rewards, dones, infos = ours.step(action)
        expected = theirs.step(action)
        assert_equal(observations, before)  # the step must not write into what the last one gave
        assert_equal(new_observations, expected[0])
        assert_equal(rewards, expected[1])
        assert_equal(dones, expected[2])
        for done, our_info, their_info in zip(dones, infos, expected[3], strict=True):
            assert our_info["TimeLimit.truncated"] is their_info["TimeLimit.truncated"]
            if done:
                assert_equal(without_time(our_info), without_time(their_info))
                assert isinstance(our_info["episode"]["t"], float)
            else:
                assert our_info == {"TimeLimit.truncated": False}
        assert ours.reset_infos == theirs.reset_infos
        assert not getattr(ours, "dead", np.zeros(1)).any()
        observations = new_observations
        n_ended += int(np.count_nonzero(dones))
    return n_ended


@settings(max_examples=60)
@given(
    make=st.sampled_from(BUILT_IN),
    observation_space=st.sampled_from(OBSERVATION_SPACES),
    action_space=st.sampled_from(ACTION_SPACES),
    n_envs=st.integers(1, 4),
    end_probability=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_the_same_as_dummy_vec_env(make, observation_space, action_space, n_envs, end_probability, seed) -> None:
    makers = random_envs(observation_space, action_space, n_envs, end_probability)
    actions = random_actions(action_space, 25, n_envs)
    assert_same_traces(GymnasiumVecEnv(make(makers)), monitored(makers), actions, seed)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("copies", [True, False])
def test_the_same_as_dummy_vec_env_in_other_processes(mode: AutoresetMode, copies: bool) -> None:
    makers = random_envs(OBSERVATION_SPACES[-1], ACTION_SPACES[0], 2)
    env = GymnasiumVecEnv(AsyncVectorEnv(makers, autoreset_mode=mode, copy=copies))
    try:
        assert assert_same_traces(env, monitored(makers), random_actions(ACTION_SPACES[0], 30, 2)) > 5
    finally:
        env.close()


@settings(max_examples=30)
@given(
    observation_space=st.sampled_from(OBSERVATION_SPACES),
    action_space=st.sampled_from(ACTION_SPACES),
    n_envs=st.integers(1, 4),
    end_probability=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_without_its_dead_steps_a_native_environment_is_the_same(
    observation_space, action_space, n_envs, end_probability, seed
) -> None:
    """Each environment's transitions, in order; its dead steps take no action of the recorded ones."""
    makers = random_envs(observation_space, action_space, n_envs, end_probability)
    actions = random_actions(action_space, 25, n_envs)
    theirs = monitored(makers)
    theirs.seed(seed)
    observations = theirs.reset()
    expected: list[list[Any]] = [[] for _ in range(n_envs)]
    for action in actions:
        new_observations, rewards, dones, infos = theirs.step(action)
        for i, info in enumerate(infos):
            last = info.get("terminal_observation", row(new_observations, i))
            facts = without_time(info) if dones[i] else {"TimeLimit.truncated": False}
            expected[i].append((row(observations, i), rewards[i], last, dones[i], facts))
        observations = new_observations

    ours = GymnasiumVecEnv(NextStepVectorEnv(makers))
    assert ours.has_autoreset_steps
    found: list[list[Any]] = [[] for _ in range(n_envs)]
    ours.seed(seed)
    observations = ours.reset()
    assert ours.reset_infos == [{"n_resets": 1}] * n_envs
    ended = np.zeros(n_envs, dtype=bool)
    with dropping_autoreset_steps(ours):
        for _ in range(25):
            action = np.array([actions[len(found[i])][i] for i in range(n_envs)])
            new_observations, rewards, dones, infos = ours.step(action)
            np.testing.assert_array_equal(ours.autoreset_rows, ended)
            live = transition_rows(ours)
            assert (live is None) == (not ended.any())
            np.testing.assert_array_equal(np.arange(n_envs) if live is None else live, np.flatnonzero(~ended))
            for i in np.flatnonzero(~ours.autoreset_rows):
                # at an end, the observation itself is the last one
                if dones[i]:
                    assert_equal(infos[i]["terminal_observation"], row(new_observations, i))
                    infos[i] = without_time(infos[i])
                found[i].append((row(observations, i), rewards[i], row(new_observations, i), dones[i], infos[i]))
            observations, ended = new_observations, dones
    for ours_of_env, theirs_of_env in zip(found, expected, strict=True):
        assert len(ours_of_env) >= 12
        for ours_of_step, theirs_of_step in zip(ours_of_env, theirs_of_env, strict=False):
            for our_value, their_value in zip(ours_of_step, theirs_of_step, strict=True):
                assert_equal(our_value, their_value)
    assert ours.reset_infos == [{"n_resets": ours.env._hidden[i].n_resets} for i in range(n_envs)]


def row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {key: rows[index] for key, rows in observations.items()}
    return observations[index]


def test_native_cartpole_follows_cartpole() -> None:
    """The library's own native environment: its transitions obey the dynamics of the single one."""
    vec_env = GymnasiumVecEnv(gym.make_vec("CartPole-v1", 8))
    single = gym.make("CartPole-v1").unwrapped
    vec_env.seed(0)
    observations = vec_env.reset()
    actions = random_actions(single.action_space, 120, 8)
    returns, n_dead, n_ended = np.zeros(8), 0, 0
    with dropping_autoreset_steps(vec_env):
        for action in actions:
            new_observations, rewards, dones, infos = vec_env.step(action)
            returns[~vec_env.autoreset_rows] += 1
            for i in range(8):
                if vec_env.autoreset_rows[i]:
                    assert rewards[i] == 0
                    assert np.abs(new_observations[i]).max() <= 0.05
                    continue
                single.reset()
                single.state = observations[i].astype(np.float64)
                expected, _, terminated, *_ = single.step(action[i])
                np.testing.assert_allclose(new_observations[i], expected, rtol=0, atol=1e-6)
                assert dones[i] == terminated
                if dones[i]:
                    assert infos[i]["episode"]["r"] == infos[i]["episode"]["l"] == returns[i]
                    returns[i] = 0
            n_dead += np.count_nonzero(vec_env.autoreset_rows)
            n_ended += np.count_nonzero(dones)
            observations = new_observations
    assert 20 < n_dead <= n_ended


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_vector_wrappers_around_built_in_environments(mode: AutoresetMode) -> None:
    makers = random_envs(OBSERVATION_SPACES[0], ACTION_SPACES[1], 3)
    single = [
        lambda make_env=make_env: gym.wrappers.ClipReward(
            TransformObservation(make_env(), lambda obs: obs.clip(0, 1), spaces.Box(0, 1, (3,))), -0.5, 0.5
        )
        for make_env in makers
    ]
    vector_env = vector_wrappers.VectorizeTransformObservation(
        SyncVectorEnv(makers, autoreset_mode=mode),
        TransformObservation,
        func=lambda obs: obs.clip(0, 1),
        observation_space=spaces.Box(0, 1, (3,)),
    )
    ours = GymnasiumVecEnv(vector_wrappers.ClipReward(vector_env, -0.5, 0.5))
    assert_same_traces(ours, monitored(single), random_actions(ACTION_SPACES[1], 40, 3))


def test_truncation_by_a_time_limit() -> None:
    makers = [lambda: TimeLimit(CountingEnv(length=5), 3)] * 2
    ours = GymnasiumVecEnv(SyncVectorEnv(makers))
    ours.reset()
    infos = [ours.step(np.zeros(2, int))[3] for _ in range(3)][-1]
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["episode"]["r"] == infos[0]["episode"]["l"] == 3
    assert infos[0]["terminal_observation"].tolist() == [0, 3]


def test_returns_are_rounded_like_monitors() -> None:
    class Third(CountingEnv):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, 1 / 3 + 1e7, *rest

    makers = [lambda: Third(7)]
    actions = np.zeros((30, 1), int)
    assert assert_same_traces(GymnasiumVecEnv(SyncVectorEnv(makers)), monitored(makers), actions) == 4


def test_lives_do_not_end_the_episodes_of_monitors_within() -> None:
    """As with Atari's lives: a monitor below a wrapper says when an episode ends, if there is one."""

    class Lives(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated or self.env.unwrapped.t % 3 == 0, truncated, info

        def reset(self, **kwargs):
            if self.env.unwrapped.t in (0, 8):
                return self.env.reset(**kwargs)
            return self.env.unwrapped._observation(), {}

    makers = [lambda: Lives(Monitor(CountingEnv(8)))] * 2
    theirs = DummyVecEnv(makers)
    ours = GymnasiumVecEnv(SyncVectorEnv(makers))
    ours.reset()
    theirs.reset()
    for _ in range(20):
        _, _, dones, infos = ours.step(np.zeros(2, int))
        for done, our_info, their_info in zip(dones, infos, theirs.step(np.zeros(2, int))[3], strict=True):
            assert ("episode" in our_info) == (bool(done) and "episode" in their_info)
            if "episode" in our_info:
                assert our_info["episode"]["r"] == their_info["episode"]["r"] == 8


# Infos


def test_what_is_shared_cannot_be_written_into() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([CountingEnv] * 3))
    env.reset()
    infos = env.step(np.zeros(3, int))[3]
    for write in (
        lambda info: info.__setitem__("x", 1),
        lambda info: info.update(x=1),
        lambda info: info.setdefault("x", 1),
        lambda info: info.pop("TimeLimit.truncated"),
        lambda info: info.clear(),
        lambda info: info.__ior__({"x": 1}),
        lambda info: info.__delitem__("TimeLimit.truncated"),
    ):
        with pytest.raises(TypeError, match=r"infos\[i\] = "):
            write(infos[0])
    infos[1] = {**infos[1], "x": 1}
    copies = [copy.copy(infos[0]), copy.deepcopy(infos)[0], infos[0].copy(), pickle.loads(pickle.dumps(infos[0]))]
    for copied in copies:
        assert type(copied) is dict
        copied["x"] = 1
    assert infos[2] == env.step(np.zeros(3, int))[3][1] == {"TimeLimit.truncated": False}


def test_infos_without_masks() -> None:
    """Native environments may give plain arrays, or things that belong to no single environment."""

    class Native(NextStepVectorEnv):
        def step(self, actions):
            *rest, _ = super().step(actions)
            infos = {"lives": np.array([3, 4]), "players": {"id": np.array([0, 1])}, "version": 7, "wind": np.zeros(3)}
            return *rest, {**infos, 8: np.array([5, 6])}

    env = GymnasiumVecEnv(Native([lambda: CountingEnv(1)] * 2))
    env.reset()
    with dropping_autoreset_steps(env):
        info = env.step(np.zeros(2, int))[3][1]
    assert info["lives"] == 4
    assert info["players"] == {"id": 1}
    assert info[8] == 6
    assert info.keys().isdisjoint({"version", "wind"})


def test_what_a_native_environment_writes_over_is_copied() -> None:
    class Reusing(NextStepVectorEnv):
        scores = np.zeros((2, 1))

        def __init__(self, env_fns: Makers) -> None:
            super().__init__(env_fns)
            self._rewards = np.zeros(2, np.float32)

        def step(self, actions):
            self.scores += 1
            *rest, _ = super().step(actions)
            return *rest, {"score": self.scores}

    env = GymnasiumVecEnv(Reusing([lambda: CountingEnv(1), lambda: CountingEnv(9)]))
    env.reset()
    with dropping_autoreset_steps(env):
        _, rewards, dones, infos = env.step(np.zeros(2, int))
        dones[:] = True
        env.step(np.zeros(2, int))
    assert infos[0]["score"] == 1
    assert rewards.tolist() == [1, 1]
    assert env.autoreset_rows.tolist() == [True, False]


def test_what_a_vector_wrapper_writes_over_is_copied() -> None:
    class Reusing(VectorObservationWrapper):
        room = np.zeros((1, 2), np.float32)

        def observations(self, observations):
            self.room[:] = observations
            return self.room

    env = GymnasiumVecEnv(Reusing(SyncVectorEnv([CountingEnv])))
    env.reset()
    first = env.step(np.zeros(1, int))[0]
    env.step(np.zeros(1, int))
    assert first.tolist() == [[0, 1]]


def test_what_an_environment_writes_over_after_its_end_is_copied() -> None:
    class Reusing(CountingEnv):
        room = np.zeros(2, np.float32)

        def _observation(self):
            self.room[:] = super()._observation()
            return self.room

    env = GymnasiumVecEnv(SyncVectorEnv([lambda: Reusing(2)], autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset()
    env.step(np.zeros(1, int))
    info = env.step(np.zeros(1, int))[3][0]
    env.step(np.zeros(1, int))
    # SyncVectorEnv itself keeps the object, in which the first observation stands by then
    assert info["terminal_observation"].tolist() == [1, 0]


def test_the_statistics_are_ours_where_an_environment_has_some_of_its_own() -> None:
    class Telling(CountingEnv):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {"episode": {"r": -1.0}}

    env = GymnasiumVecEnv(SyncVectorEnv([lambda: Telling(1)]))
    env.reset()
    assert env.step(np.zeros(1, int))[3][0]["episode"]["r"] == 1.0


def test_observations_have_the_dtype_of_their_space() -> None:
    """As DummyVecEnv's: wrappers, and environments, may compute in another."""
    doubled = vector_wrappers.TransformObservation(NextStepVectorEnv([CountingEnv]), lambda obs: obs * np.float64(2))
    env = GymnasiumVecEnv(doubled)
    assert env.reset().dtype == np.float32
    with dropping_autoreset_steps(env):
        observations = env.step(np.zeros(1, int))[0]
    assert observations.dtype == np.float32
    assert observations.tolist() == [[0, 2]]


def test_what_wrappers_pay_for_dead_steps_is_not_counted() -> None:
    env = GymnasiumVecEnv(vector_wrappers.TransformReward(NextStepVectorEnv([lambda: CountingEnv(3)]), lambda r: r + 1))
    env.reset()
    with dropping_autoreset_steps(env):
        steps = [env.step(np.zeros(1, int)) for _ in range(11)]
    assert [float(rewards[0]) for _, rewards, _, _ in steps] == [2, 2, 2, 0] * 2 + [2, 2, 2]
    infos = [infos[0] for _, _, _, infos in steps]
    assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info] == [(6, 3)] * 3


def test_a_reset_counts_from_zero() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([lambda: CountingEnv(3)]))
    for _ in range(2):
        env.reset()
        infos = [env.step(np.zeros(1, int))[3][0] for _ in range(5)]
        assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info] == [(3, 3)]


@pytest.mark.parametrize("action_space", [spaces.Box(-1, 1, (2,), np.float32), spaces.MultiBinary(2)])
def test_native_environments_get_actions_of_their_dtype(action_space: spaces.Space) -> None:
    """The environment checks it; SB3 draws for MultiBinary in float32, and DDPG's noise is in float64."""
    env = GymnasiumVecEnv(NextStepVectorEnv(random_envs(OBSERVATION_SPACES[0], action_space, 2)))
    env.reset()
    with dropping_autoreset_steps(env):
        env.step(np.ones((2, 2)))


# Who may step an environment with dead steps


@pytest.mark.parametrize("kind", [A2C, PPO, DQN])
def test_other_algorithms_are_refused_dead_steps(kind: type) -> None:
    model = kind("MlpPolicy", GymnasiumVecEnv(CartPoleVectorEnv(2)), device="cpu")
    with pytest.raises(RuntimeError, match=r'CartPoleVectorEnv.*action is ignored.*vectorization_mode="sync".*TDA2C'):
        model.learn(10)
    with pytest.raises(RuntimeError, match="action is ignored"):
        evaluate_policy(model, model.get_env())


def test_it_must_be_reset_before_it_is_stepped() -> None:
    """An environment in the middle of an episode, or at its end, shows nothing of it."""
    env = NextStepVectorEnv([lambda: CountingEnv(1)])
    env.reset()
    env.step(np.zeros(1, int))
    adapter = GymnasiumVecEnv(env)
    with dropping_autoreset_steps(adapter), pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        adapter.step(np.zeros(1, int))


def test_a_reset_leaves_no_dead_step() -> None:
    env = GymnasiumVecEnv(NextStepVectorEnv([lambda: CountingEnv(1)]))
    env.reset()
    with dropping_autoreset_steps(env):
        env.step(np.zeros(1, int)), env.step(np.zeros(1, int))
        assert transition_rows(env).tolist() == []
        env.reset()
        assert transition_rows(env) is None


@pytest.mark.parametrize("kind", [CountingEnv, DictCountingEnv])
def test_partial_resets_that_are_not_partial_are_found_out(kind: type) -> None:
    class ResetsAll(NextStepVectorEnv):
        metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    env = GymnasiumVecEnv(ResetsAll([lambda: kind(2), lambda: kind(5)]))
    env.reset()
    env.step(np.zeros(2, int))
    with pytest.raises(RuntimeError, match="resets, or shows otherwise, running environments"):
        env.step(np.zeros(2, int))


def test_normalised_rewards_do_not_go_with_dead_steps() -> None:
    """The zeros would make them look smaller than they are."""
    env = GymnasiumVecEnv(CartPoleVectorEnv(2))
    with pytest.raises(ValueError, match=r"norm_reward=False"), dropping_autoreset_steps(VecNormalize(env)):
        pass
    for sound in (VecNormalize(env, norm_reward=False), VecNormalize(env, training=False)):
        with dropping_autoreset_steps(sound):
            assert env.autoreset_steps_are_dropped


def test_wrappers_of_ones_own_are_refused_dead_steps() -> None:
    class Mine(VecNormalize):
        pass

    env = Mine(GymnasiumVecEnv(CartPoleVectorEnv(2)), norm_reward=False)
    with pytest.raises(ValueError, match="Mine may"), dropping_autoreset_steps(env):
        pass


@pytest.mark.parametrize("wrap", [VecFrameStack, VecMonitor])
@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_wrappers_that_would_join_or_count_dead_steps_are_refused(wrap: Callable[..., VecEnv]) -> None:
    wrapped = wrap(GymnasiumVecEnv(CartPoleVectorEnv(2)), *([2] if wrap is VecFrameStack else []))
    env = VecNormalize(wrapped, norm_reward=False)
    message = rf"{wrap.__name__} may.*VecNormalize, VecCheckNan, VecTransposeImage.*sync"
    with pytest.raises(ValueError, match=message), dropping_autoreset_steps(env):
        pass
    with pytest.raises(RuntimeError, match="action is ignored"):
        env.reset(), env.step(np.zeros(2, int))


def test_the_promise_ends_with_its_context() -> None:
    env = VecCheckNan(VecNormalize(GymnasiumVecEnv(CartPoleVectorEnv(2)), norm_reward=False))
    env.reset()
    with dropping_autoreset_steps(env):
        with dropping_autoreset_steps(env):
            env.step(np.zeros(2, int))
        env.step(np.zeros(2, int))
    with pytest.raises(KeyError), dropping_autoreset_steps(env):
        raise KeyError
    with pytest.raises(RuntimeError):
        env.step(np.zeros(2, int))


def test_environments_without_dead_steps_need_no_promise() -> None:
    for env in (DummyVecEnv([CountingEnv]), VecFrameStack(GymnasiumVecEnv(SyncVectorEnv([CountingEnv])), 2), None):
        with dropping_autoreset_steps(env):
            assert transition_rows(env) is None


@pytest.mark.parametrize("wrong", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_metadata_that_are_wrong_are_found_out(wrong: AutoresetMode) -> None:
    class SameStep(NextStepVectorEnv):
        metadata = {"autoreset_mode": wrong}  # noqa: RUF012

        def step(self, actions):
            self._ended[:] = False
            return super().step(actions)

    env = GymnasiumVecEnv(SameStep(random_envs(OBSERVATION_SPACES[0], ACTION_SPACES[0], 1, 1.0)))
    env.reset()
    message = rf"not {wrong}.*put metadata\['autoreset_mode'\] right"
    with dropping_autoreset_steps(env), pytest.raises(RuntimeError, match=message):
        env.step(np.zeros(1, int)), env.step(np.zeros(1, int))


# SB3's algorithms


@pytest.mark.parametrize("make", [BUILT_IN[0], BUILT_IN[3]])
@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (A2C, {}),
        (PPO, {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
        (DQN, {"learning_starts": 20, "train_freq": 2, "buffer_size": 200}),
    ],
)
def test_sb3_learns_the_same(make, kind: type, kwargs: dict[str, Any]) -> None:
    makers = [lambda: TimeLimit(gym.make("CartPole-v1").unwrapped, 15)] * 3
    models = [
        kind("MlpPolicy", env, seed=1, device="cpu", **kwargs).learn(150)
        for env in (GymnasiumVecEnv(make(makers)), monitored(makers))
    ]
    for ours, theirs in zip(models[0].policy.parameters(), models[1].policy.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach(), theirs.detach())
    ours, theirs = ([(info["r"], info["l"]) for info in model.ep_info_buffer] for model in models)
    assert ours == theirs
    assert len(ours) > 5


def test_evaluation_is_the_same() -> None:
    makers = [lambda: TimeLimit(gym.make("CartPole-v1").unwrapped, 15)] * 3
    model = A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    results = []
    for env in (GymnasiumVecEnv(SyncVectorEnv(makers)), monitored(makers)):
        env.seed(0)
        results.append(evaluate_policy(model, env, 9, return_episode_rewards=True))
    assert results[0] == results[1]


# Seeds, options, and the rest of the interface


def test_options_reach_every_environment_once() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv(random_envs(OBSERVATION_SPACES[0], ACTION_SPACES[0], 2)))
    env.set_options({"level": 2})
    env.reset()
    assert [sub_env.options for sub_env in env.env.envs] == [{"level": 2}] * 2
    env.reset()
    assert [sub_env.options for sub_env in env.env.envs] == [None] * 2
    env.set_options([{"level": 1}, {"level": 2}])
    with pytest.raises(ValueError, match="same options"):
        env.reset()
    env.set_options({"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match=r"'reset_mask' would leave some environments out.*drop it"):
        env.reset()


def test_seeds_are_used_once_and_native_environments_take_the_first() -> None:
    env, bare = GymnasiumVecEnv(CartPoleVectorEnv(3)), CartPoleVectorEnv(3)
    assert env.seed(5) == [5, 6, 7]
    np.testing.assert_array_equal(env.reset(), bare.reset(seed=5)[0])
    np.testing.assert_array_equal(env.reset(), bare.reset()[0])


@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_single_environments_are_reached(make: Callable[..., Any]) -> None:
    env = GymnasiumVecEnv(make([lambda: CountingEnv(5), lambda: CountingEnv(6), lambda: CountingEnv(7)]))
    try:
        env.reset()
        assert env.get_attr("length") == [5, 6, 7]
        assert env.get_attr("length", [2, 0]) == [7, 5]
        assert env.get_attr("length", 1) == [6]
        assert env.render_mode is None
        env.set_attr("length", 9)
        assert env.get_attr("length") == [9, 9, 9]
        assert [value.tolist() for value in env.env_method("_observation")] == [[0, 0]] * 3
        env.set_attr("length", [1, 2])
        assert env.get_attr("length") == [[1, 2]] * 3
        assert env.env_is_wrapped(Monitor) == [True] * 3
        if make is SyncVectorEnv:
            env.set_attr("length", 4, indices=[1])
            assert env.get_attr("length", [0, 1]) == [[1, 2], 4]
            assert [value.tolist() for value in env.env_method("_observation", indices=2)] == [[0, 0]]
            assert callable(env.get_attr("_observation")[0])
            assert not env.has_attr("nothing")
            assert env.env_is_wrapped(TimeLimit, indices=[0, 1]) == [False, False]
        else:
            for reach in (lambda: env.set_attr("length", 4, 1), lambda: env.env_method("_observation", indices=[0])):
                with pytest.raises(NotImplementedError, match="all environments or none"):
                    reach()
            with pytest.raises(NotImplementedError, match="other processes"):
                env.env_is_wrapped(TimeLimit)
    finally:
        env.close()


def test_native_environments_cannot_be_reached_one_by_one() -> None:
    env = GymnasiumVecEnv(CartPoleVectorEnv(2))
    for reach in (lambda: env.get_attr("gravity"), lambda: env.set_attr("gravity", 1), lambda: env.env_method("x")):
        with pytest.raises(AttributeError, match=r'CartPoleVectorEnv.*has no.*vectorization_mode="sync"'):
            reach()
    assert not env.has_attr("gravity")
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(TimeLimit) == [False, False]
    env.close()


class Painted(CountingEnv):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def render(self):
        return np.full((2, 2, 3), self.t, np.uint8)


def test_rendering() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([Painted] * 2))
    env.reset()
    env.step(np.zeros(2, int))
    assert env.render_mode == "rgb_array"
    assert env.metadata["render_fps"] == 50
    assert [image.tolist() for image in env.get_images()] == np.ones((2, 2, 2, 3)).tolist()
    assert env.render().shape == (4, 2, 3) or env.render().shape == (2, 4, 3)
    silent = GymnasiumVecEnv(SyncVectorEnv([CountingEnv]))
    with pytest.warns(UserWarning, match="rgb_array"):
        assert silent.get_images() == [None]


def test_closing_closes_the_environments() -> None:
    vector_env = SyncVectorEnv([CountingEnv])
    GymnasiumVecEnv(vector_env).close()
    assert vector_env.closed


# What cannot be served


def test_what_is_no_vector_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gymnasium\.vector\.VectorEnv, got .*CountingEnv"):
        GymnasiumVecEnv(CountingEnv())


@pytest.mark.parametrize(
    ("name", "observation_space", "action_space"),
    [
        ("observation", spaces.Tuple([IMAGE]), spaces.Discrete(2)),
        ("observation", spaces.Dict({"a": spaces.Dict({"b": IMAGE})}), spaces.Discrete(2)),
        ("observation", spaces.Text(5), spaces.Discrete(2)),
        ("action", IMAGE, spaces.Dict({"a": spaces.Discrete(2)})),
    ],
)
def test_spaces_that_cannot_be_served(name: str, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    vector_env = SyncVectorEnv(random_envs(observation_space, action_space, 1))
    with pytest.raises(ValueError, match=f"single_{name}_space=.* is not supported: use one of Box"):
        GymnasiumVecEnv(vector_env)


@pytest.mark.parametrize("metadata", [{}, {"autoreset_mode": None}, {"autoreset_mode": "sometimes"}])
def test_the_autoreset_mode_must_be_known(metadata: dict[str, Any]) -> None:
    vector_env = NextStepVectorEnv([CountingEnv])
    vector_env.metadata = metadata
    with pytest.raises(ValueError, match=r"autoreset_mode.*env\.metadata = .*NEXT_STEP"):
        GymnasiumVecEnv(vector_env)
    vector_env.metadata = {"autoreset_mode": "NextStep"}
    assert GymnasiumVecEnv(vector_env).has_autoreset_steps


@pytest.mark.parametrize("name", ["NormalizeObservation", "NormalizeReward", "RecordEpisodeStatistics"])
def test_vector_wrappers_that_do_not_know_partial_resets_are_refused(name: str) -> None:
    wrap = getattr(vector_wrappers, name)
    with pytest.raises(ValueError, match=f"{name} has a reset.*VecNormalize.*SAME_STEP"):
        GymnasiumVecEnv(wrap(SyncVectorEnv([CountingEnv])))
    assert GymnasiumVecEnv(wrap(CartPoleVectorEnv(2))).has_autoreset_steps


def test_workers_that_would_reset_twice_are_refused() -> None:
    vector_env = AsyncVectorEnv([CountingEnv], shared_memory=False)
    try:
        with pytest.raises(ValueError, match=r"shared_memory=False.*SAME_STEP"):
            GymnasiumVecEnv(vector_env)
    finally:
        vector_env.close()


def test_outputs_that_cannot_be_served() -> None:
    with pytest.raises(ValueError, match="leave out DictInfoToList"):
        GymnasiumVecEnv(vector_wrappers.DictInfoToList(CartPoleVectorEnv(2))).reset()

    class InTorch(VectorWrapper):
        def reset(self, **kwargs):
            observations, infos = self.env.reset(**kwargs)
            return th.as_tensor(observations), infos

    with pytest.raises(ValueError, match=r"as Tensor of shape \(2, 4\), not as a numpy array of shape \(2, 4\)"):
        GymnasiumVecEnv(InTorch(CartPoleVectorEnv(2))).reset()
    env = GymnasiumVecEnv(SyncVectorEnv([DictCountingEnv] * 2))
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        env.step(np.zeros(3, int))
