"""Where rollouts end, how many steps are taken, and that each transition is trained on once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.rollout.observations import map_arrays
from tests.algorithms.comparing import assert_same_parameters
from tests.environments import CountingEnv, DictCountingEnv, FaultyEnv


class BatchRecorder(TDA2C):
    """Records every batch that it trains on."""

    def _setup_model(self) -> None:
        super()._setup_model()
        self.batches: list[list[np.ndarray]] = []

    def train(self) -> None:
        self.batches.append([map_arrays(np.copy, rows) for rows in self.rollout_buffer.transitions()])
        super().train()

    @property
    def batch_sizes(self) -> list[int]:
        return [len(batch[2]) for batch in self.batches]

    def all_rows(self, field: int) -> np.ndarray:
        """Return all rows of one field of the transitions, including those of the unfinished rollout."""
        unfinished = [self.rollout_buffer.transitions()[field]]
        return np.concatenate([batch[field] for batch in self.batches] + unfinished)


class StopAt(BaseCallback):
    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps

    def _on_step(self) -> bool:
        return self.num_timesteps < self.n_steps


def make(length: int | None, n_envs: int = 1, truncates: bool = False, **kwargs) -> BatchRecorder:
    env = DummyVecEnv([lambda: CountingEnv(length, truncates)] * n_envs)
    return BatchRecorder("MlpPolicy", env, seed=0, device="cpu", **kwargs)


def assert_consecutive(model: BatchRecorder, length: int) -> None:
    """Check that each transition of the only environment was recorded once, in order."""
    n = model.num_timesteps
    steps = np.arange(n)
    expected = np.stack([steps // length, steps % length], axis=1)
    np.testing.assert_array_equal(model.all_rows(0), expected)
    # at the end of an episode, s' is its last observation, not the first of the next episode
    np.testing.assert_array_equal(model.all_rows(3) - expected, np.tile([0, 1], (n, 1)))
    np.testing.assert_array_equal(model.all_rows(4), steps % length == length - 1)


def test_with_one_environment_a_rollout_ends_with_the_episode() -> None:
    model = make(length=7).learn(21)
    assert model.batch_sizes == [5, 2, 5, 2, 5, 2]
    assert_consecutive(model, length=7)


def test_rollouts_of_fixed_length() -> None:
    model = make(length=7, update_on_episode_end=False).learn(21)
    assert model.batch_sizes == [5, 5, 5, 5]
    assert_consecutive(model, length=7)


def test_with_several_environments_rollouts_have_a_fixed_length() -> None:
    model = make(length=7, n_envs=3).learn(60)
    assert model.batch_sizes == [15, 15, 15, 15]


def test_with_several_environments_rollouts_may_end_with_an_episode() -> None:
    model = make(length=7, n_envs=3, update_on_episode_end=True).learn(42)
    assert model.batch_sizes == [15, 6, 15, 6]


def test_batches_of_one_leave_the_weights_finite() -> None:
    """The standard deviation of one advantage, by which it would be normalized, is 0 or NaN."""
    model = make(length=6, normalize_advantage=True).learn(12)
    assert model.batch_sizes == [5, 1, 5, 1]
    assert all(th.isfinite(param).all() for param in model.policy.parameters())


def test_truncation_is_recorded_apart_from_termination() -> None:
    model = make(length=4, truncates=True).learn(8)
    assert model.all_rows(4).tolist() == [False] * 8
    assert model.all_rows(5).tolist() == [False, False, False, True] * 2


@settings(max_examples=15)
@given(
    budgets=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    length=st.integers(1, 9),
    n_steps=st.integers(1, 6),
    update_on_episode_end=st.sampled_from([None, False]),
)
def test_several_calls_of_learn_equal_one(
    budgets: list[int], length: int, n_steps: int, update_on_episode_end: bool | None
) -> None:
    """learn(N) takes exactly N steps, and where it ends does not affect batches and weights."""
    kwargs = {"n_steps": n_steps, "update_on_episode_end": update_on_episode_end}
    pieces = make(length, **kwargs)
    taken = 0
    for budget in budgets:
        pieces.learn(budget, reset_num_timesteps=False)
        taken += budget
        assert pieces.num_timesteps == taken
    in_one_go = make(length, **kwargs).learn(taken)

    assert_consecutive(in_one_go, length)
    assert_consecutive(pieces, length)
    assert pieces.batch_sizes == in_one_go.batch_sizes
    assert_same_parameters(pieces, in_one_go)


@pytest.mark.parametrize("stop", [1, 4, 5, 6, 7, 8, 12])
def test_a_callback_that_stops_training_loses_nothing(stop: int) -> None:
    stopped = make(length=7).learn(100, StopAt(stop))
    assert stopped.num_timesteps == stop
    stopped.learn(28 - stop, reset_num_timesteps=False)
    assert_consecutive(stopped, length=7)
    through = make(length=7).learn(28)
    assert stopped.batch_sizes == through.batch_sizes
    assert_same_parameters(stopped, through)


def test_a_second_learn_resets_the_environment_and_loses_nothing() -> None:
    model = make(length=7).learn(3).learn(7)
    # the reset ended the episode, and the rollout with it
    assert model.batch_sizes == [3, 5, 2]
    assert model.num_timesteps == 7
    assert model.all_rows(0).tolist() == [[0, 0], [0, 1], [0, 2]] + [[1, t] for t in range(7)]


def test_total_timesteps_are_rounded_up_to_all_environments() -> None:
    model = make(length=7, n_envs=4).learn(21)
    assert model.num_timesteps == 24
    assert model.batch_sizes == [20]
    assert len(model.rollout_buffer) == 4


def test_the_default_of_total_timesteps() -> None:
    model = make(length=7)
    model.learn(callback=StopAt(5))
    assert model._total_timesteps == 100_000


def test_terminal_observations_are_normalized() -> None:
    """VecNormalize also scales the last observation of an episode to around zero."""
    env = VecNormalize(DummyVecEnv([lambda: CountingEnv(7)]), norm_reward=False)
    model = BatchRecorder("MlpPolicy", env, n_steps=4, seed=0, device="cpu")
    model.learn(700)
    steps = model.all_rows(3)[-70:, 1]
    assert np.abs(steps).max() < 2.5
    assert steps[model.all_rows(4)[-70:]].min() > 1.4


@pytest.mark.parametrize("n_envs", [1, 2])
def test_dict_observations_are_paired_with_the_next(n_envs: int) -> None:
    env = DummyVecEnv([lambda: DictCountingEnv(7)] * n_envs)
    model = BatchRecorder("MultiInputPolicy", env, n_steps=14, update_on_episode_end=False, device="cpu").learn(13)
    rows = model.rollout_buffer.transitions()
    expected = np.repeat(np.arange(len(rows.rewards) // n_envs), n_envs)
    np.testing.assert_array_equal(rows.observations["step"].ravel(), expected % 7)
    np.testing.assert_array_equal(rows.next_observations["step"].ravel(), expected % 7 + 1)
    np.testing.assert_array_equal(rows.observations["episode"], rows.next_observations["episode"])


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint8, np.float32])
def test_dones_may_have_any_dtype(dtype: type) -> None:
    class OddDones(VecEnvWrapper):
        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            observations, rewards, dones, infos = self.venv.step_wait()
            return observations, rewards, dones.astype(dtype), infos

    odd = BatchRecorder("MlpPolicy", OddDones(DummyVecEnv([lambda: CountingEnv(7)])), seed=0, device="cpu").learn(28)
    plain = make(length=7).learn(28)
    assert odd.batch_sizes == plain.batch_sizes
    assert_same_parameters(odd, plain)


class FirstAnInteger(CountingEnv):
    """Pays the integer 0 for an episode's first step, then the float 0.5."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, 0 if self.t == 1 else 0.5, *rest


class StackedRewards(VecEnvWrapper):
    """Gives rewards the dtype that ``SubprocVecEnv`` gives them: integers if all are integers."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards.astype(np.int64) if not rewards.any() else rewards, dones, infos


@pytest.mark.parametrize(
    "make_env",
    [
        lambda env_fns: StackedRewards(DummyVecEnv(env_fns)),
        pytest.param(SubprocVecEnv, marks=pytest.mark.slow),
    ],
    ids=["StackedRewards", "SubprocVecEnv"],
)
def test_the_dtype_of_rewards_may_change(make_env: Callable[[list[Any]], VecEnv]) -> None:
    env = make_env([lambda: FirstAnInteger(7)] * 2)
    try:
        model = TDA2C("MlpPolicy", env, device="cpu").learn(8)
    finally:
        env.close()
    assert model.rollout_buffer.transitions().rewards.tolist() == [0, 0] + [0.5] * 6


def test_a_subclass_may_drop_transitions() -> None:
    """This one keeps those of every third step, and updates wait for them."""

    class Dropping(BatchRecorder):
        def _transitions(self, *args):
            transitions = super()._transitions(*args)
            keep = np.full(1, self.num_timesteps % 3 == 0)
            return transitions._make(rows[keep] for rows in transitions)

    model = Dropping("MlpPolicy", CountingEnv(), n_steps=1, device="cpu").learn(12)
    assert model.batch_sizes == [1, 1, 1, 1]
    assert model.all_rows(0)[:, 1].tolist() == [2, 5, 8, 11]


def test_a_step_that_failed_is_not_paired_with_the_next() -> None:
    """After an error the state of the environment is unknown, so learn() resets it."""
    model = BatchRecorder("MlpPolicy", FaultyEnv(7, reward=np.nan), n_steps=20, device="cpu")
    with pytest.raises(ValueError, match="reward=nan"):
        model.learn(10)
    model.learn(3, reset_num_timesteps=False)
    assert model.all_rows(0).tolist() == [[0, t] for t in range(6)] + [[1, t] for t in range(3)]
    assert model.all_rows(3).tolist() == [[0, t + 1] for t in range(6)] + [[1, t + 1] for t in range(3)]


def test_schedules_end_at_zero() -> None:
    """Although 1018 steps are rounded up to 1020: a linear schedule must not become negative."""
    seen = []

    def linear(progress_remaining: float) -> float:
        seen.append(progress_remaining)
        return 1e-3 * progress_remaining

    assert make(length=7, n_envs=4, learning_rate=linear).learn(1018).num_timesteps == 1020
    assert min(seen) == 0.0


def test_a_subclass_may_override_sample_actions() -> None:
    class Alternating(BatchRecorder):
        def sample_actions(self, observations):
            assert observations.shape == (1, 2)
            return np.array([self.num_timesteps % 2])

    model = Alternating("MlpPolicy", CountingEnv(7), device="cpu").learn(20)
    assert model.all_rows(1).tolist() == [0, 1] * 10
