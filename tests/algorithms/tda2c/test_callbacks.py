"""SB3's callbacks, evaluation, logs and progress bar work with TDA2C."""

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from rich.progress import Progress
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_a2c_td import TDA2C, SeparateActorCriticPolicy
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import CPU_ENGINES
from tests.environments import CountingEnv, NextStepVectorEnv

KEYS = {
    "rollout/ep_len_mean",
    "rollout/ep_rew_mean",
    "time/fps",
    "time/iterations",
    "time/time_elapsed",
    "time/total_timesteps",
    "train/critic_learning_rate",
    "train/entropy_loss",
    "train/explained_variance",
    "train/learning_rate",
    "train/n_updates",
    "train/policy_loss",
    "train/td_error",
    "train/td_error_std",
    "train/value_loss",
}


def make(n_envs: int = 1, **kwargs) -> TDA2C:
    return TDA2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs=n_envs, seed=0), seed=0, device="cpu", **kwargs)


class Journal(BaseCallback):
    """Records the calls of its methods and checks the variables that they can read."""

    def _init_callback(self) -> None:
        self.calls: list[str] = []

    def _on_training_start(self) -> None:
        self.calls.append("training_start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout_start")

    def _on_step(self) -> bool:
        self.calls.append("step")
        n_envs = self.training_env.num_envs
        names = ("infos", "dones", "rewards", "new_obs", "actions", "clipped_actions")
        assert [len(self.locals[name]) for name in names] == [n_envs] * len(names)
        assert self.locals["self"] is self.model
        assert self.num_timesteps == self.model.num_timesteps
        return True

    def _on_rollout_end(self) -> None:
        self.calls.append("rollout_end")
        assert self.locals["rollout_buffer"].n_steps == self.locals["n_rollout_steps"]

    def _on_training_end(self) -> None:
        self.calls.append("training_end")


class ReadRollout(BaseCallback):
    """Reads the rollout as callbacks of A2C do."""

    def _init_callback(self) -> None:
        self.steps, self.rollouts = [], []

    def _on_step(self) -> bool:
        self.steps.append({name: self.locals[name].copy() for name in ("rewards", "actions")})
        last = self.locals["rollout_buffer"].observations[-self.training_env.num_envs :]
        self.steps[-1]["observations"] = last.copy()
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        self.rollouts.append({name: getattr(buffer, name).copy() for name in ("rewards", "actions", "observations")})


def test_callbacks_can_read_the_rollout_by_sb3s_names() -> None:
    reader = ReadRollout()
    model = make(n_envs=2, n_steps=3)
    model.learn(12, reader)
    assert len(reader.rollouts) == 2
    for i, rollout in enumerate(reader.rollouts):
        for name, array in rollout.items():
            steps = [step[name] for step in reader.steps[3 * i : 3 * (i + 1)]]
            np.testing.assert_array_equal(array, np.concatenate(steps))


class Shape(BaseCallback):
    """Doubles the rewards of each rollout before its update."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.model.rollout_buffer.rewards[:] *= 2


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_the_update_uses_rewards_that_a_callback_changed(engine: str) -> None:
    changed = make(engine=engine, reward_scale=0.5).learn(20, Shape())
    assert_same_parameters(changed, make(engine=engine, reward_scale=1.0).learn(20), atol=1e-7)
    with pytest.raises(AssertionError):
        assert_same_parameters(changed, make(engine=engine, reward_scale=0.5).learn(20), atol=1e-7)


class Bonus(BaseCallback):
    """Rewards the action 1, by the local variable or by the buffer that it knows from before training."""

    def __init__(self, in_locals: bool) -> None:
        super().__init__()
        self.in_locals = in_locals

    def _init_callback(self) -> None:
        self.buffer = self.model.rollout_buffer

    def _on_step(self) -> bool:
        rewards = self.locals["rewards"] if self.in_locals else self.buffer.rewards[-len(self.locals["rewards"]) :]
        rewards += 2 * self.locals["actions"]
        return True


@pytest.mark.parametrize("in_locals", [True, False])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_a_bonus_of_a_callback_is_learned_from(in_locals: bool, n_envs: int) -> None:
    model = TDA2C("MlpPolicy", DummyVecEnv([lambda: CountingEnv(7)] * n_envs), n_steps=20, device="cpu")
    for n_steps in (3 * n_envs, 2 * n_envs):
        model.learn(n_steps, Bonus(in_locals), reset_num_timesteps=False)
    rows = model.rollout_buffer.transitions()
    assert len(rows.rewards) == 5 * n_envs
    assert rows.rewards.tolist() == (1 + 2 * rows.actions).tolist()


def test_a_bonus_needs_no_transition() -> None:
    """The first step of a training may be an autoreset step of a native vector environment."""
    model = TDA2C("MlpPolicy", NextStepVectorEnv([lambda: CountingEnv(3)]), device="cpu").learn(3)
    rows = model.learn(2, Bonus(in_locals=True), reset_num_timesteps=False).rollout_buffer.transitions()
    assert rows.rewards.tolist() == (1 + 2 * rows.actions).tolist()
    assert len(rows.rewards) == 1


class ReusedRewards(VecEnvWrapper):
    """Returns the rewards of all steps in the same array."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        self.rewards = getattr(self, "rewards", np.zeros_like(rewards))
        self.rewards[:] = rewards + observations[:, 1]
        return observations, self.rewards, dones, infos


def test_rewards_in_an_array_that_the_environment_uses_again_are_not_taken_for_a_bonus() -> None:
    env = ReusedRewards(DummyVecEnv([CountingEnv]))
    step_elsewhere = lambda variables, _: variables["env"].step(np.zeros(1, int)) is not None  # noqa: E731
    model = TDA2C("MlpPolicy", env, n_steps=9, device="cpu").learn(4, step_elsewhere)
    # each step elsewhere leads to a reset
    assert model.rollout_buffer.rewards.tolist() == [2.0] * 4


def test_a_bonus_that_is_not_finite_is_an_error() -> None:
    def make_nan(variables: dict[str, Any], _: object) -> bool:
        variables["rewards"][0] = np.nan
        return True

    with pytest.raises(ValueError, match=r"locals\['rewards'\]=\[nan\] at step 1: a callback"):
        make().learn(10, make_nan)


def test_a_bonus_is_not_stored_if_the_callback_trained_the_model() -> None:
    class Trains(BaseCallback):
        is_first = True

        def _on_step(self) -> bool:
            if self.is_first:
                self.is_first = False
                self.model.learn(4, reset_num_timesteps=False)
                self.locals["rewards"] += 100
            return True

    model = TDA2C("MlpPolicy", CountingEnv(), n_steps=20, device="cpu").learn(8, Trains())
    assert set(model.rollout_buffer.rewards.tolist()) == {1.0}


def test_callbacks_are_called_in_sb3s_order() -> None:
    journal = Journal()
    make(n_envs=2, n_steps=3).learn(14, journal)
    rollout = ["rollout_start", "step", "step", "step", "rollout_end"]
    unfinished = ["rollout_start", "step"]
    assert journal.calls == ["training_start", *rollout, *rollout, *unfinished, "training_end"]


def test_evaluate_policy() -> None:
    """It plays the deterministic policy."""
    model = make().learn(200)
    returns, _ = evaluate_policy(
        model, make_vec_env("CartPole-v1", seed=1), n_eval_episodes=2, return_episode_rewards=True
    )
    env, played = make_vec_env("CartPole-v1", seed=1), []
    observations, total = env.reset(), 0.0
    while len(played) < 2:
        observations, rewards, dones, _ = env.step(model.predict(observations, deterministic=True)[0])
        total += rewards[0]
        if dones[0]:
            played.append(total)
            total = 0.0
    assert returns == played


def test_sb3s_callbacks_evaluate_and_save(tmp_path: Path) -> None:
    evaluation = EvalCallback(
        make_vec_env("CartPole-v1", seed=1),
        callback_after_eval=StopTrainingOnNoModelImprovement(max_no_improvement_evals=100),
        eval_freq=50,
        n_eval_episodes=2,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path),
        verbose=0,
    )
    checkpoints = CheckpointCallback(save_freq=40, save_path=str(tmp_path / "checkpoints"))
    journal = Journal()
    make().learn(201, CallbackList([evaluation, checkpoints, EveryNTimesteps(100, journal)]))

    assert np.load(tmp_path / "evaluations.npz")["timesteps"].tolist() == [50, 100, 150, 200]
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {f"rl_model_{n}_steps.zip" for n in (40, 80, 120, 160, 200)}
    assert TDA2C.load(tmp_path / "best_model", device="cpu").predict(np.zeros(4))[0] in (0, 1)
    assert journal.calls.count("step") == 2


def test_callbacks_stop_training() -> None:
    episodes = StopTrainingOnMaxEpisodes(max_episodes=3)
    model = make().learn(10_000, episodes)
    assert len(model.ep_info_buffer) == 3
    assert model.num_timesteps == sum(info["l"] for info in model.ep_info_buffer)

    stop_at_once = StopTrainingOnRewardThreshold(reward_threshold=1.0)
    evaluation = EvalCallback(make_vec_env("CartPole-v1"), callback_on_new_best=stop_at_once, eval_freq=20, verbose=0)
    assert make().learn(10_000, evaluation).num_timesteps == 20


def test_a_function_as_a_callback_stops_training() -> None:
    assert make().learn(100, lambda locals_, globals_: locals_["self"].num_timesteps < 12).num_timesteps == 12


def test_logs_have_the_keys_of_sb3_and_of_tda2c(tmp_path: Path) -> None:
    model = make(tensorboard_log=str(tmp_path), learning_rate=1e-3, critic_learning_rate=LinearSchedule(2e-3, 0.0, 1.0))
    model.learn(1000, log_interval=10)
    events = EventAccumulator(str(tmp_path / "TDA2C_1")).Reload()
    assert set(events.Tags()["scalars"]) == KEYS
    actor_rates = [event.value for event in events.Scalars("train/learning_rate")]
    critic_rates = [event.value for event in events.Scalars("train/critic_learning_rate")]
    assert actor_rates == pytest.approx([1e-3] * len(actor_rates))
    progress = [event.step / 1000 for event in events.Scalars("train/critic_learning_rate")]
    # logged before the update: the rate is that of the update before
    assert critic_rates == pytest.approx([2e-3 * (1 - done) for done in progress], abs=2e-5)
    assert len(critic_rates) > 10


def test_the_logged_td_error_is_the_mean_advantage() -> None:
    """Before the first update, with a critic of zero: A = y = 0.01 r."""
    model = TDA2C("MlpPolicy", CountingEnv(3), device="cpu", gamma=0.0)
    for param in model.policy.critic_parameters():
        param.data.zero_()
    model.set_logger(configure(format_strings=[]))
    model.learn(3)
    logged = model.logger.name_to_value
    assert logged["train/td_error"] == pytest.approx(0.01)
    assert logged["train/td_error_std"] == pytest.approx(0.0, abs=1e-9)
    assert logged["train/value_loss"] == pytest.approx(1e-4)
    assert logged["train/n_updates"] == 1


def test_explained_variance_of_constant_targets_is_nan() -> None:
    """As SB3 defines it, although the values vary."""
    model = TDA2C("MlpPolicy", CountingEnv(), device="cpu", gamma=0.0)
    model.set_logger(configure(format_strings=[]))
    model.learn(5)
    assert np.isnan(model.logger.name_to_value["train/explained_variance"])


def test_a_batch_of_one_logs_no_explained_variance() -> None:
    model = TDA2C("MlpPolicy", CountingEnv(1), device="cpu")
    model.set_logger(configure(format_strings=[]))
    model.learn(3)
    assert "train/value_loss" in model.logger.name_to_value
    assert "train/explained_variance" not in model.logger.name_to_value


def test_an_mlp_policy_on_a_gpu_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeparateActorCriticPolicy, "to", lambda policy, device: policy)
    monkeypatch.setattr("stable_baselines3.common.base_class.get_device", lambda device: th.device("cuda"))
    with pytest.warns(UserWarning, match="TDA2C on the GPU"):
        TDA2C("MlpPolicy", CountingEnv())


def test_std_is_logged_for_continuous_actions() -> None:
    model = TDA2C("MlpPolicy", "Pendulum-v1", device="cpu", seed=0)
    model.set_logger(configure(format_strings=[]))
    model.learn(5)
    assert model.logger.name_to_value["train/std"] == pytest.approx(1.0, abs=0.01)


def test_success_rate_is_recorded_when_an_episode_ends() -> None:
    class Succeeding(CountingEnv):
        def step(self, action):
            *step, info = super().step(action)
            return *step, {**info, "is_success": self.episode % 2 == 0}

    model = TDA2C("MlpPolicy", Succeeding(4), device="cpu").learn(16)
    assert list(model.ep_success_buffer) == [True, False, True, False]


def test_progress_bar_shows_all_steps(capfd: pytest.CaptureFixture[str]) -> None:
    make().learn(50, progress_bar=True)
    assert "50/50" in "".join(capfd.readouterr())


class StoppedBy(BaseCallback):
    """Raises an exception in its fifth step."""

    def __init__(self, exception: BaseException) -> None:
        super().__init__()
        self.exception = exception

    def _on_step(self) -> bool:
        if self.n_calls == 5:
            raise self.exception
        return True


def assert_end(threads: set[threading.Thread]) -> None:
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("exception", [LookupError(), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("as_callback", [False, True])
def test_progress_bar_is_closed_after_an_exception(as_callback: bool, exception: BaseException) -> None:
    """With rich older than 14, the next bar would raise a LiveError; with newer ones, threads would remain."""
    model, callbacks, threads = make(), CallbackList([StoppedBy(exception)]), threading.enumerate()
    if as_callback:
        callbacks.callbacks.append(ProgressBarCallback())
    with pytest.raises(type(exception)):
        model.learn(50, callbacks, progress_bar=not as_callback)
    assert_end(set(threading.enumerate()) - set(threads))
    model.learn(50, progress_bar=True)


def test_progress_bar_is_closed_if_ctrl_c_comes_while_it_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, add_task = threading.enumerate(), Progress.add_task

    def interrupted(progress: Progress, *args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return add_task(progress, *args, **kwargs)

    monkeypatch.setattr(Progress, "add_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make().learn(50, progress_bar=True)
    assert_end(set(threading.enumerate()) - set(threads))


def test_verbose_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    make(verbose=1).learn(60, log_interval=2)
    table = capsys.readouterr().out
    assert all(key.split("/")[1] in table for key in KEYS)
