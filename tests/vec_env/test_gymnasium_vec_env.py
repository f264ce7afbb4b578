"""``GymnasiumVecEnv`` returns what SB3's ``DummyVecEnv`` of monitored environments returns, step for step."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import TimeLimit, TransformObservation
from gymnasium.wrappers import vector as vector_wrappers
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps
from tests.algorithms.comparing import assert_same_parameters
from tests.environments import CountingEnv, DictCountingEnv, NextStepVectorEnv, RandomEpisodesEnv
from tests.vec_env.traces import (
    ACTION_SPACES,
    BUILT_IN,
    IMAGE,
    OBSERVATION_SPACES,
    Makers,
    assert_same_traces,
    monitored,
    random_actions,
    random_envs,
)


@settings(max_examples=40)
@given(
    make=st.sampled_from(BUILT_IN),
    observation_space=st.sampled_from(OBSERVATION_SPACES),
    action_space=st.sampled_from(ACTION_SPACES),
    n_envs=st.integers(1, 4),
    end_probability=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_trace_equals_dummy_vec_env(make, observation_space, action_space, n_envs, end_probability, seed) -> None:
    makers = random_envs(observation_space, action_space, n_envs, end_probability)
    actions = random_actions(action_space, 25, n_envs)
    assert_same_traces(GymnasiumVecEnv(make(makers)), monitored(makers), actions, seed)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("copies", [True, False])
def test_trace_of_worker_processes_equals_dummy_vec_env(mode: AutoresetMode, copies: bool) -> None:
    makers = random_envs(OBSERVATION_SPACES[-1], ACTION_SPACES[0], 2)
    env = GymnasiumVecEnv(AsyncVectorEnv(makers, autoreset_mode=mode, copy=copies))
    try:
        assert assert_same_traces(env, monitored(makers), random_actions(ACTION_SPACES[0], 30, 2)) > 5
    finally:
        env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_trace_in_vector_wrappers_equals_dummy_vec_env(mode: AutoresetMode) -> None:
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
def test_sb3_algorithms_learn_the_same(make, kind: type, kwargs: dict[str, Any]) -> None:
    makers = [lambda: TimeLimit(gym.make("CartPole-v1").unwrapped, 15)] * 3
    models = [
        kind("MlpPolicy", env, seed=1, device="cpu", **kwargs).learn(150)
        for env in (GymnasiumVecEnv(make(makers)), monitored(makers))
    ]
    assert_same_parameters(models[0], models[1])
    ours, theirs = ([(info["r"], info["l"]) for info in model.ep_info_buffer] for model in models)
    assert ours == theirs
    assert len(ours) > 5


def test_evaluate_policy_returns_the_same() -> None:
    makers = [lambda: TimeLimit(gym.make("CartPole-v1").unwrapped, 15)] * 3
    model = A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    results = []
    for env in (GymnasiumVecEnv(SyncVectorEnv(makers)), monitored(makers)):
        env.seed(0)
        results.append(evaluate_policy(model, env, 9, return_episode_rewards=True))
    assert results[0] == results[1]


# Copies and dtypes


def test_arrays_that_a_native_environment_reuses_are_copied() -> None:
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


def test_arrays_that_a_vector_wrapper_reuses_are_copied() -> None:
    class Reusing(VectorObservationWrapper):
        buffer = np.zeros((1, 2), np.float32)

        def observations(self, observations):
            self.buffer[:] = observations
            return self.buffer

    env = GymnasiumVecEnv(Reusing(SyncVectorEnv([CountingEnv])))
    env.reset()
    first = env.step(np.zeros(1, int))[0]
    env.step(np.zeros(1, int))
    assert first.tolist() == [[0, 1]]


def test_a_terminal_observation_that_an_environment_reuses_is_copied() -> None:
    class Reusing(CountingEnv):
        buffer = np.zeros(2, np.float32)

        def step(self, action):
            self.buffer[:], *rest = super().step(action)
            return self.buffer, *rest

    env = GymnasiumVecEnv(SyncVectorEnv([lambda: Reusing(2)], autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset()
    env.step(np.zeros(1, int))
    info = env.step(np.zeros(1, int))[3][0]
    env.step(np.zeros(1, int))
    # SyncVectorEnv returns the object itself, which holds the next episode's second observation by now
    assert info["terminal_observation"].tolist() == [0, 2]


def test_observations_have_the_dtype_of_their_space() -> None:
    """As those of DummyVecEnv, whatever dtype environments and wrappers compute in."""
    doubled = vector_wrappers.TransformObservation(NextStepVectorEnv([CountingEnv]), lambda obs: obs * np.float64(2))
    env = GymnasiumVecEnv(doubled)
    assert env.reset().dtype == np.float32
    with dropping_autoreset_steps(env):
        observations = env.step(np.zeros(1, int))[0]
    assert observations.dtype == np.float32
    assert observations.tolist() == [[0, 2]]


@pytest.mark.parametrize("action_space", [spaces.Box(-1, 1, (2,), np.float32), spaces.MultiBinary(2)])
def test_native_environments_get_actions_in_the_dtype_of_their_space(action_space: spaces.Space) -> None:
    """The environment checks it. SB3 samples MultiBinary actions in float32, and DDPG's noise is float64."""
    env = GymnasiumVecEnv(NextStepVectorEnv(random_envs(OBSERVATION_SPACES[0], action_space, 2)))
    env.reset()
    with dropping_autoreset_steps(env):
        env.step(np.ones((2, 2)))


# Seeds, options, and errors


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
    with pytest.raises(ValueError, match=r"remove 'reset_mask', since"):
        env.reset()


class LeveledEnv(RandomEpisodesEnv):
    """Has a level from the options. The info of a reset has all options so far."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION_SPACES[0], ACTION_SPACES[0])
        self.all_options: list[dict[str, Any] | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        level = 1 if options is None else options["level"]
        self.all_options.append(options)
        observation, _ = super().reset(seed=seed)
        return observation, {"level": level}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_options_are_those_of_dummy_vec_env(make: Callable[..., VectorEnv], mode: AutoresetMode) -> None:
    """Those that were set hold for the next reset; at the end of an episode there are none."""
    envs = [GymnasiumVecEnv(make([LeveledEnv] * 3, autoreset_mode=mode)), monitored([LeveledEnv] * 3)]
    for env in envs:
        env.set_options({"level": 2})
    for seed in (3, 4):
        assert assert_same_traces(*envs, random_actions(ACTION_SPACES[0], 20, 3), seed) > 5
    ours, theirs = (env.get_attr("all_options") for env in envs)
    envs[0].close()
    assert ours == theirs
    assert [options[:2] for options in ours] == [[{"level": 2}, None]] * 3


def test_partial_resets_in_wrappers_have_no_options() -> None:
    vector_env = vector_wrappers.ClipReward(SyncVectorEnv([LeveledEnv] * 2), -1, 1)
    env = GymnasiumVecEnv(vector_env)
    env.reset()
    before = list(vector_env.unwrapped.envs)
    for action in random_actions(ACTION_SPACES[0], 20, 2):
        env.step(action)
    assert {str(options) for options in np.concatenate(env.get_attr("all_options"))} == {"None"}
    assert all(now is then for now, then in zip(vector_env.unwrapped.envs, before, strict=True))


def test_seeds_are_used_once_and_native_environments_take_the_first() -> None:
    env, bare = GymnasiumVecEnv(CartPoleVectorEnv(3)), CartPoleVectorEnv(3)
    assert env.seed(5) == [5, 6, 7]
    np.testing.assert_array_equal(env.reset(), bare.reset(seed=5)[0])
    np.testing.assert_array_equal(env.reset(), bare.reset()[0])


def test_a_step_before_the_first_reset_raises() -> None:
    """The adapter cannot tell whether an episode is running or has ended."""
    env = NextStepVectorEnv([lambda: CountingEnv(1)])
    env.reset()
    env.step(np.zeros(1, int))
    adapter = GymnasiumVecEnv(env)
    with dropping_autoreset_steps(adapter), pytest.raises(RuntimeError, match=r"Call reset\(\) before the first step"):
        adapter.step(np.zeros(1, int))


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
    assert env.render().shape == (4, 2, 3)
    silent = GymnasiumVecEnv(SyncVectorEnv([CountingEnv]))
    with pytest.warns(UserWarning, match="rgb_array"):
        assert silent.get_images() == [None]


def test_closing_closes_the_environments() -> None:
    vector_env = SyncVectorEnv([CountingEnv])
    GymnasiumVecEnv(vector_env).close()
    assert vector_env.closed


def test_other_objects_than_vector_environments_are_refused() -> None:
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
def test_unsupported_spaces_are_refused(name: str, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    vector_env = SyncVectorEnv(random_envs(observation_space, action_space, 1))
    with pytest.raises(ValueError, match=f"single_{name}_space=.* is not supported: use one of Box"):
        GymnasiumVecEnv(vector_env)


def test_unsupported_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="remove the wrapper DictInfoToList"):
        GymnasiumVecEnv(vector_wrappers.DictInfoToList(CartPoleVectorEnv(2))).reset()

    class InTorch(VectorWrapper):
        def reset(self, **kwargs):
            observations, infos = self.env.reset(**kwargs)
            return th.as_tensor(observations), infos

    with pytest.raises(ValueError, match=r"as Tensor of shape \(2, 4\), expected a numpy array of shape \(2, 4\)"):
        GymnasiumVecEnv(InTorch(CartPoleVectorEnv(2))).reset()
    env = GymnasiumVecEnv(SyncVectorEnv([DictCountingEnv] * 2))
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        env.step(np.zeros(3, int))
