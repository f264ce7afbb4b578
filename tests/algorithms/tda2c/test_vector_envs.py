"""TDA2C trains the same on ``gymnasium.vector`` environments as on SB3's, and drops autoreset steps of native ones."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, VecTransposeImage

from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.tda2c.test_collecting import BatchRecorder, StopAt
from tests.environments import CountingEnv, DictCountingEnv, NextStepVectorEnv, RandomEpisodesEnv

IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)


class ObservingActor(BatchRecorder):
    """Chooses actions by the observation, so that autoreset steps use up no random numbers."""

    def sample_actions(self, observations):
        rows = observations["step"] if isinstance(observations, dict) else observations
        return (rows.sum(axis=1) % 2).astype(np.int64)


def native(lengths: list[int], kind: type = CountingEnv) -> NextStepVectorEnv:
    return NextStepVectorEnv([lambda length=length: kind(length) for length in lengths])


def dummy(lengths: list[int], kind: type = CountingEnv) -> DummyVecEnv:
    return DummyVecEnv([lambda length=length: Monitor(kind(length)) for length in lengths])


def assert_same_batches(first: BatchRecorder, second: BatchRecorder) -> None:
    for ours, theirs in zip(first.batches, second.batches, strict=True):
        for our_rows, their_rows in zip(ours, theirs, strict=True):
            np.testing.assert_equal(our_rows, their_rows)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    ("observation_space", "action_space", "policy"),
    [
        (spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(3), "MlpPolicy"),
        (spaces.Discrete(4), spaces.Box(-1, 1, (2,), np.float32), "MlpPolicy"),
        (IMAGE, spaces.MultiDiscrete([2, 3]), "CnnPolicy"),
        (spaces.Dict({"a": spaces.MultiDiscrete([3, 2]), "b": IMAGE}), spaces.MultiBinary(2), "MultiInputPolicy"),
    ],
)
def test_training_is_the_same_as_on_dummy_vec_env(mode, observation_space, action_space, policy) -> None:
    makers = [lambda: RandomEpisodesEnv(observation_space, action_space, 0.1)] * 3
    models = [
        TDA2C(policy, env, bootstrap_on_truncation=True, seed=4, device="cpu").learn(90)
        for env in (
            SyncVectorEnv(makers, autoreset_mode=mode),
            DummyVecEnv([lambda make_env=make_env: Monitor(make_env()) for make_env in makers]),
        )
    ]
    assert_same_parameters(*models)
    ours, theirs = ([(info["r"], info["l"]) for info in model.ep_info_buffer] for model in models)
    assert ours == theirs
    assert models[0].ep_success_buffer == models[1].ep_success_buffer
    assert len(ours) > 5


@settings(max_examples=25)
@given(
    budgets=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    length=st.integers(1, 9),
    n_steps=st.integers(1, 6),
    update_on_episode_end=st.sampled_from([None, False]),
    kind=st.sampled_from([CountingEnv, DictCountingEnv]),
)
def test_one_native_environment_gives_the_same_batches(
    budgets: list[int], length: int, n_steps: int, update_on_episode_end: bool | None, kind: type
) -> None:
    """An autoreset step adds neither a row nor a step to a rollout, however training is cut into pieces."""
    policy = "MultiInputPolicy" if kind is DictCountingEnv else "MlpPolicy"
    settings_: dict[str, Any] = {"n_steps": n_steps, "update_on_episode_end": update_on_episode_end}
    ours = ObservingActor(policy, native([length], kind), seed=0, device="cpu", **settings_)
    for budget in budgets:
        ours.learn(budget, reset_num_timesteps=False)
    assert ours.num_timesteps == sum(budgets)
    n_transitions = sum(t % (length + 1) < length for t in range(sum(budgets)))
    theirs = ObservingActor(policy, dummy([length], kind), seed=0, device="cpu", **settings_).learn(n_transitions)

    assert_same_batches(ours, theirs)
    assert ours.batch_sizes == theirs.batch_sizes
    assert len(ours.rollout_buffer) == len(theirs.rollout_buffer)
    assert_same_parameters(ours, theirs)


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4), n_steps=st.integers(1, 6))
def test_several_native_environments_give_every_transition_once(lengths: list[int], n_steps: int) -> None:
    model = ObservingActor("MlpPolicy", native(lengths), n_steps=n_steps, seed=0, device="cpu").learn(30 * len(lengths))
    assert model.num_timesteps == 30 * len(lengths)
    found = np.concatenate([model.all_rows(0), model.all_rows(3), model.all_rows(4)[:, None]], axis=1)
    expected = []
    for length in lengths:
        steps = [divmod(t, length + 1) for t in range(30) if t % (length + 1) < length]
        expected += [[episode, t, episode, t + 1, t + 1 == length] for episode, t in steps]
    assert sorted(found.tolist()) == sorted(np.array(expected, dtype=float).tolist())
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in model.batches]), 1.0)
    assert {info["l"] for info in model.ep_info_buffer} == {length for length in lengths if length <= 30}


def test_episode_ends_end_rollouts_after_autoreset_steps_too() -> None:
    lengths = [3, 7]
    model = ObservingActor("MlpPolicy", native(lengths), update_on_episode_end=True, device="cpu").learn(40)
    ended = [[t % (length + 1) == length - 1 for length in lengths] for t in range(20)]
    transitions = [[t % (length + 1) < length for length in lengths] for t in range(20)]
    sizes, size, steps = [], 0, 0
    for ends, rows in zip(ended, transitions, strict=True):
        size, steps = size + sum(rows), steps + any(rows)
        if size and (any(ends) or steps == 5):
            sizes, size, steps = [*sizes, size], 0, 0
    assert model.batch_sizes == sizes


def test_next_values_of_an_image_policy_are_reused_after_autoreset_steps() -> None:
    """Steps then differ in their number of rows; each next value must still be that of its own observation."""
    makers = [lambda: RandomEpisodesEnv(IMAGE, spaces.Discrete(2), 0.15)] * 3
    model = TDA2C("CnnPolicy", NextStepVectorEnv(makers), n_steps=8, seed=0, device="cpu")
    model.learn(21)
    buffer = model.rollout_buffer
    successors, rows = buffer.successors(), buffer.transitions()
    found = successors >= 0
    assert found.any()
    np.testing.assert_array_equal(rows.next_observations[found], rows.observations[successors[found]])


def test_a_callback_that_stops_at_an_autoreset_step_loses_nothing() -> None:
    model = ObservingActor("MlpPolicy", native([4]), device="cpu")
    for stop in range(1, 20):
        model.learn(1000, StopAt(stop), reset_num_timesteps=False)
    assert model.num_timesteps == 19
    assert model.all_rows(0).tolist() == [[t // 5, t % 5] for t in range(19) if t % 5 < 4]


def test_a_reset_after_an_episode_end_has_no_autoreset_step() -> None:
    model = ObservingActor("MlpPolicy", native([4]), device="cpu").learn(4).learn(3)
    assert model.all_rows(0).tolist() == [[0, t] for t in range(4)] + [[1, t] for t in range(3)]


def test_training_on_make_vec() -> None:
    model = TDA2C("MlpPolicy", gym.make_vec("CartPole-v1", 64), seed=0, device="cpu")
    assert isinstance(model.get_env(), GymnasiumVecEnv)
    model.learn(64 * 200)
    assert model.num_timesteps == 64 * 200
    # a pole does not fall in fewer than 8 steps, and no reward is missing
    assert all(info["r"] == info["l"] >= 8 for info in model.ep_info_buffer)
    assert len(model.ep_info_buffer) == 100


def test_set_env_and_load_take_vector_environments(tmp_path: Path) -> None:
    model = TDA2C("MlpPolicy", DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2), device="cpu").learn(10)
    model.set_env(CartPoleVectorEnv(2))
    model.learn(50)
    model.save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", env=CartPoleVectorEnv(3), device="cpu")
    assert loaded.n_envs == 3
    assert loaded.learn(60).num_timesteps == 60


def test_autoreset_steps_are_dropped_below_wrappers() -> None:
    env = VecNormalize(GymnasiumVecEnv(native([3])), norm_reward=False)
    model = BatchRecorder("MlpPolicy", env, n_steps=1, device="cpu").learn(40)
    assert len(model.batches) == 30


def test_an_environment_that_was_stepped_elsewhere_must_be_reset() -> None:
    env = native([4])
    model = ObservingActor("MlpPolicy", env, device="cpu").learn(4)
    model.set_env(env, force_reset=False)
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before the first step"):
        model.learn(4, reset_num_timesteps=False)


def test_rewards_of_autoreset_steps_are_ignored() -> None:
    class Careless(NextStepVectorEnv):
        def step(self, actions):
            is_autoreset_step = self._ended.copy()
            observations, rewards, *rest = super().step(actions)
            return observations, np.where(is_autoreset_step, np.nan, rewards), *rest

    model = BatchRecorder("MlpPolicy", Careless([lambda: CountingEnv(2)]), device="cpu").learn(30)
    assert len(model.ep_info_buffer) == 10
    assert {info["r"] for info in model.ep_info_buffer} == {2.0}


def test_images_of_native_environments_are_transposed() -> None:
    makers = [lambda: RandomEpisodesEnv(IMAGE, spaces.Discrete(2), 0.3)] * 2
    model = TDA2C("CnnPolicy", NextStepVectorEnv(makers), device="cpu")
    assert isinstance(model.get_env(), VecTransposeImage)
    assert model.learn(40).num_timesteps == 40


def test_frame_stacks_of_autoreset_steps_are_refused() -> None:
    model = TDA2C("MlpPolicy", VecFrameStack(GymnasiumVecEnv(CartPoleVectorEnv(2)), 2), device="cpu")
    with pytest.raises(ValueError, match="VecFrameStack may count"):
        model.learn(10)


def test_unsupported_spaces_are_refused() -> None:
    makers = [lambda: RandomEpisodesEnv(spaces.Discrete(3, start=1), spaces.Discrete(2))]
    env: VectorEnv = SyncVectorEnv(makers)
    with pytest.raises(ValueError, match="must start at 0"):
        TDA2C("MlpPolicy", env)


@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_envpool() -> None:
    envpool = pytest.importorskip("envpool")
    env = envpool.make_gymnasium("CartPole-v1", num_envs=4, seed=0)
    model = TDA2C("MlpPolicy", env, device="cpu").learn(2000)
    assert all(info["r"] == info["l"] for info in model.ep_info_buffer)


def test_atari() -> None:
    """Lives do not end its episodes, and it stacks frames itself."""
    ale_py = pytest.importorskip("ale_py")
    gym.register_envs(ale_py)
    model = TDA2C("CnnPolicy", gym.make_vec("ALE/Pong-v5", 2), device="cpu")
    assert model.get_env().has_autoreset_steps
    assert model.learn(20).num_timesteps == 20
