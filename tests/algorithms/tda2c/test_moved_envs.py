"""Training notices that something else stepped or reset its environments, and resets them."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C, RecurrentTDA2C
from tests.algorithms.recurrent.models import SMALL
from tests.environments import CountingEnv, DictCountingEnv

LENGTH = 9
ENVS: dict[str, Callable[[type[CountingEnv]], Any]] = {
    "Env": lambda kind: kind(LENGTH),
    "DummyVecEnv": lambda kind: DummyVecEnv([lambda: kind(LENGTH)] * 2),
    "VecNormalize": lambda kind: VecNormalize(
        VecFrameStack(DummyVecEnv([lambda: kind(LENGTH)] * 2), 1), norm_obs=False, norm_reward=False
    ),
    "SyncVectorEnv": lambda kind: SyncVectorEnv([lambda: kind(LENGTH)] * 2, autoreset_mode=AutoresetMode.SAME_STEP),
    "AsyncVectorEnv": lambda kind: AsyncVectorEnv([lambda: kind(LENGTH)] * 2),
    "SubprocVecEnv": lambda kind: SubprocVecEnv([lambda: kind(LENGTH)] * 2, start_method="fork"),
}
SETTINGS: dict[str, Any] = {"n_steps": 100, "update_on_episode_end": False, "seed": 0, "device": "cpu"}


def make(name: str, kind: type[CountingEnv] = CountingEnv) -> TDA2C:
    return TDA2C("MultiInputPolicy" if kind is DictCountingEnv else "MlpPolicy", ENVS[name](kind), **SETTINGS)


def numbers(observations: Any) -> np.ndarray:
    """Return the numbers of the episode and of the step, a row for each transition."""
    if isinstance(observations, dict):
        return np.concatenate([observations["episode"], observations["step"]], axis=1)
    return observations


def assert_transitions(model: TDA2C, n: int) -> list[list[int]]:
    """Check that each transition leads to the next step of the same episode; return the observations of one env."""
    rows = model.rollout_buffer.transitions()
    assert len(rows.rewards) == n
    before, after = numbers(rows.observations), numbers(rows.next_observations)
    np.testing.assert_array_equal(after - before, np.tile([0, 1], (n, 1)))
    return before[:: model.n_envs].astype(int).tolist()


def evaluate(model: TDA2C) -> None:
    evaluate_policy(model, model.get_env(), n_eval_episodes=2, warn=False)


def reset(model: TDA2C) -> None:
    model.get_env().reset()


def train_another(model: TDA2C) -> None:
    TDA2C(model.policy_class, model.get_env(), device="cpu").learn(8)


def step_below_the_wrappers(model: TDA2C) -> None:
    model.get_env().unwrapped.step(np.zeros(model.n_envs, np.int64))


@pytest.mark.parametrize("name", ENVS)
@pytest.mark.parametrize("move", [evaluate, reset, train_another, step_below_the_wrappers])
def test_environments_that_moved_between_two_trainings_are_reset(name: str, move: Callable[[TDA2C], None]) -> None:
    """The transitions of the unfinished rollout stay."""
    model = make(name)
    n_envs = model.n_envs
    model.learn(4 * n_envs)
    move(model)
    model.learn(3 * n_envs, reset_num_timesteps=False)
    episodes = assert_transitions(model, 7 * n_envs)
    assert [t for _, t in episodes] == [0, 1, 2, 3, 0, 1, 2]
    assert episodes[4][0] > episodes[3][0]
    # and then they are left alone again
    model.learn(2 * n_envs, reset_num_timesteps=False)
    assert assert_transitions(model, 9 * n_envs)[7:] == [[episodes[6][0], 3], [episodes[6][0], 4]]
    model.env.close()


def test_environments_of_a_copy_that_moved_are_reset() -> None:
    model = deepcopy(make("DummyVecEnv").learn(8))
    model.learn(8, reset_num_timesteps=False)
    reset(model)
    model.learn(6, reset_num_timesteps=False)
    episodes = assert_transitions(model, 22)
    assert [t for _, t in episodes] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]


def test_an_environment_that_is_evaluated_directly_is_reset() -> None:
    """``evaluate_policy`` puts it into a second DummyVecEnv."""
    env = TimeLimit(CountingEnv(), LENGTH)
    model = TDA2C("MlpPolicy", env, **SETTINGS).learn(4)
    evaluate_policy(model, env, n_eval_episodes=2, warn=False)
    model.learn(3, reset_num_timesteps=False)
    assert [t for _, t in assert_transitions(model, 7)] == [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_gymnasium_vector_environment_that_another_model_trains_on_is_reset(mode: AutoresetMode) -> None:
    """Each model has its own adapter."""
    env = SyncVectorEnv([lambda: TimeLimit(CountingEnv(), LENGTH)] * 2, autoreset_mode=mode)
    model = TDA2C("MlpPolicy", env, **SETTINGS).learn(8)
    TDA2C("MlpPolicy", env, **SETTINGS).learn(4)
    model.learn(6, reset_num_timesteps=False)
    assert [t for _, t in assert_transitions(model, 14)] == [0, 1, 2, 3, 0, 1, 2]


class MoveAt(BaseCallback):
    """Moves the training environments at one step, or before the first one."""

    def __init__(self, move: Callable[[TDA2C], None], step: int) -> None:
        super().__init__()
        self.move = move
        self.step = step

    def _on_training_start(self) -> None:
        self._move_at(0)

    def _on_step(self) -> bool:
        self._move_at(self.num_timesteps)
        return True

    def _move_at(self, step: int) -> None:
        if step == self.step:
            self.step = -1
            self.move(self.model)


@pytest.mark.parametrize("kind", [CountingEnv, DictCountingEnv])
@pytest.mark.parametrize("move", [evaluate, train_another])
@pytest.mark.parametrize("step", [0, 4])
def test_environments_that_a_callback_moved_are_reset(step: int, move: Any, kind: type[CountingEnv]) -> None:
    model = make("Env", kind).learn(7, MoveAt(move, step))
    assert [t for _, t in assert_transitions(model, 7)] == [*range(step), *range(7 - step)]


@pytest.mark.parametrize("step", [1, 4, 5])
@pytest.mark.parametrize("reset_num_timesteps", [True, False])
def test_a_callback_may_train_the_same_model(reset_num_timesteps: bool, step: int) -> None:
    """It continues the rollout, and is continued; the number of steps is that of the outer training."""

    def train(model: TDA2C) -> None:
        model.learn(3, reset_num_timesteps=reset_num_timesteps)

    model = make("Env").learn(8, MoveAt(train, step))
    assert model.num_timesteps == 8
    n_before = step if reset_num_timesteps else 0
    steps = [t for _, t in assert_transitions(model, n_before + 8)]
    assert steps == [*range(n_before), *range(8)]


class TrainAtRolloutEnd(BaseCallback):
    """Trains the same model once when the first rollout is complete."""

    n_steps = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.n_steps == 0:
            self.n_steps = self.num_timesteps + 5
            self.model.learn(5, reset_num_timesteps=False)


def test_a_callback_may_train_the_same_model_at_the_end_of_a_rollout() -> None:
    """The inner training has then used all transitions, so that none are left for the outer update."""
    model = TDA2C("MlpPolicy", CountingEnv(), n_steps=5, seed=0, device="cpu")
    # the inner training updates on the complete rollout, and again on its own five steps
    model.learn(15, TrainAtRolloutEnd())
    assert (model.num_timesteps, model._n_updates, len(model.rollout_buffer)) == (15, 3, 0)


@pytest.mark.parametrize("move", [evaluate, reset])
def test_the_recurrent_state_is_reset_with_the_environments(move: Callable[[TDA2C], None]) -> None:
    env = DummyVecEnv([lambda: CountingEnv(LENGTH)] * 2)
    model = RecurrentTDA2C("MlpLstmPolicy", env, policy_kwargs=SMALL, **SETTINGS).learn(8)
    move(model)
    model.learn(6, reset_num_timesteps=False)
    assert_transitions(model, 14)
    rows = model.rollout_buffer.transitions()
    starts = rows.episode_starts[::2]
    assert np.flatnonzero(starts).tolist() == [0, 4]
    assert not rows.lstm_states[8:10].any()
    assert rows.lstm_states[10:].any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", ["Env", "SyncVectorEnv"])
def test_environments_below_the_models_normalization_are_reset(name: str) -> None:
    """``get_env`` returns them without it."""
    model = TDA2C("MlpPolicy", ENVS[name](CountingEnv), normalize_rewards=True, **SETTINGS)
    model.learn(4 * model.n_envs)
    evaluate(model)
    model.learn(3 * model.n_envs, reset_num_timesteps=False)
    assert [t for _, t in assert_transitions(model, 7 * model.n_envs)] == [0, 1, 2, 3, 0, 1, 2]


def read(model: TDA2C) -> None:
    """Use the model and its environments without moving them."""
    env = model.get_env()
    env.get_attr("render_mode")
    env.has_attr("length")
    model.predict(env.observation_space.sample())
    evaluate_policy(model, make("Env").get_env(), n_eval_episodes=1, warn=False)


def copy(model: TDA2C) -> None:
    deepcopy(model.get_env())


@pytest.mark.parametrize("name", ENVS)
def test_environments_that_were_only_read_continue(name: str, tmp_path: Path) -> None:
    def use(model: TDA2C) -> None:
        read(model)
        model.save(tmp_path / "model")
        if name in ("Env", "DummyVecEnv", "VecNormalize"):
            copy(model)

    model = make(name)
    checkpoints = CheckpointCallback(1, str(tmp_path / "checkpoints"))
    model.learn(4 * model.n_envs, [checkpoints, MoveAt(use, 2 * model.n_envs)])
    use(model)
    model.learn(3 * model.n_envs, reset_num_timesteps=False)
    assert assert_transitions(model, 7 * model.n_envs) == [[0, t] for t in range(7)]
    model.env.close()


@pytest.mark.parametrize("moves", [False, True])
def test_a_resumed_training_notices_moves(moves: bool, tmp_path: Path) -> None:
    make("DummyVecEnv").learn(8).save(tmp_path / "model")
    model = TDA2C.resume(tmp_path / "model", ENVS["DummyVecEnv"](CountingEnv), device="cpu")
    if moves:
        evaluate(model)
    model.learn(6, reset_num_timesteps=False)
    steps = [t for _, t in assert_transitions(model, 14)]
    assert steps == ([0, 1, 2, 3, 0, 1, 2] if moves else list(range(7)))


def test_two_models_may_take_turns_on_the_same_environments() -> None:
    first = make("DummyVecEnv")
    second = TDA2C("MlpPolicy", first.get_env(), **SETTINGS)
    for _ in range(3):
        first.learn(6, reset_num_timesteps=False)
        second.learn(6, reset_num_timesteps=False)
    for model in (first, second):
        assert [t for _, t in assert_transitions(model, 18)] == [0, 1, 2] * 3
