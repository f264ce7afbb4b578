"""Runs a model's training in compiled code, from one event that needs Python to the next.

Logs, callbacks, errors and signals stay where they are, in :meth:`TDA2C.learn <sb3_a2c_td.TDA2C.learn>`: compiled code
stops before them.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_a2c_td.algorithms.skippable_callbacks import EndedEpisodes, needing_every_step, skip, steps_until_due
from sb3_a2c_td.compiled.env import compiled_dtype
from sb3_a2c_td.compiled.gymnasium_env import CompiledGymnasiumEnv
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.compiled.vector_env import CompiledVectorEnv
from sb3_a2c_td.engines import compilation
from sb3_a2c_td.engines.auto import AutoEngine
from sb3_a2c_td.rollout.transitions import Transitions
from sb3_a2c_td.rollout.validation import check_finite
from sb3_a2c_td.schedules import scheduled_rate
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv
from sb3_a2c_td.vec_env.normalization import ModelVecNormalize

if TYPE_CHECKING:
    from sb3_a2c_td.algorithms import tda2c
    from sb3_a2c_td.compiled.trainer import Trained
    from sb3_a2c_td.compiled.training_loop import Progress
    from sb3_a2c_td.engines.numba_mlp import NumbaEngine

SECONDS = 0.1
"""how long compiled code runs before it returns to Python, for signals and progress bars"""
FIRST_STEPS = 16
"""steps of all environments in the first run, whose speed is not known; each next run may take twice as many"""


class CompiledEnvs(NamedTuple):
    """Compiled environments."""

    env: CompiledVecEnv
    vec_normalize: VecNormalize | None
    """the wrapper around them"""


def compiled_envs(env: VecEnv | None) -> CompiledEnvs | None:
    """Return environments that can be trained on in compiled code; ``None`` for others.

    :param env: environments, possibly in wrappers
    """
    # exact types, since a subclass may do something in every step
    wrapper = cast(VecNormalize, env) if type(env) in (VecNormalize, ModelVecNormalize) else None
    base = env if wrapper is None else wrapper.venv
    return CompiledEnvs(base, wrapper) if type(base) is CompiledVecEnv else None


def have_compiled_functions(env: VecEnv | None) -> bool:
    """Check whether environments are compiled, also in layers that only Python can step.

    :param env: environments, possibly in wrappers
    """
    base = None if env is None else env.unwrapped
    if isinstance(base, GymnasiumVecEnv):
        return isinstance(base.env.unwrapped, CompiledVectorEnv)
    if isinstance(base, DummyVecEnv):
        return isinstance(base.envs[0].unwrapped, CompiledGymnasiumEnv)
    return isinstance(base, CompiledVecEnv)


def step_by_step_reason(model: tda2c.TDA2C, callback: BaseCallback) -> str | None:
    """Return why a model has to be trained step by step; ``None`` if compiled code can do it.

    :param model: the model
    :param callback: the callbacks of ``learn``
    """
    if compiled_envs(model.env) is None:
        return (
            f"Python has to step {_outermost(model.env)}: use make_compiled_vec_env, with no wrapper or in VecNormalize"
        )
    replaced = [name for name in vars(model) if callable(getattr(type(model), name, None))]
    if replaced:
        return f"the model's method {replaced[0]} was replaced"
    needing = needing_every_step(callback)
    if needing is not None:
        return f"{type(needing).__name__} must be called at every step"
    engine = _numba_engine(model)
    if engine is None:
        return f"the engine is {model._engine}, not numba"
    if engine.leaves_to_numpy(model.n_steps * model.n_envs):
        return "numpy takes less time for batches of this size"
    return None


def _outermost(env: VecEnv | None) -> str:
    """Return the class of environments, without the wrapper that normalizes for the model."""
    return type(env.venv if isinstance(env, ModelVecNormalize) else env).__name__


def _numba_engine(model: tda2c.TDA2C) -> NumbaEngine | None:
    engine = model._current_engine
    if isinstance(engine, AutoEngine):
        engine = engine.current()
    # isinstance would import numba
    return engine if getattr(engine, "name", None) == "numba" else None  # type: ignore[return-value]


class CompiledTraining:
    """Runs the training of one call of ``learn`` in compiled code.

    :param model: the model
    :param callback: the callbacks of ``learn``
    """

    def __init__(self, model: tda2c.TDA2C, callback: BaseCallback) -> None:
        self._model = model
        self._callback = callback
        self._n_steps = max(1, FIRST_STEPS // model.n_envs)
        """steps of each environment that take about :data:`SECONDS`"""
        self._is_loaded = False

    def run(self, max_updates: float) -> int:
        """Train until just before the next event that needs Python.

        The last rollout may be incomplete, or complete without an update.

        :param max_updates: how many updates may be taken
        :return: how many were taken
        :raises ValueError: if an environment returns something that is not finite
        """
        n_updates = 0
        while self._can_run():
            n_steps = min(self._steps_until_event(max_updates - n_updates), self._n_steps)
            if n_steps == 0:
                break
            progress = self._run(n_steps, max_updates - n_updates)
            n_updates += progress.n_updates
            if progress.n_steps < n_steps:
                break
        return n_updates

    def _can_run(self) -> bool:
        """Check whether compiled code can take the next step."""
        model = self._model
        if model._rollout_is_complete(model.rollout_buffer, model.n_steps):
            return False
        if step_by_step_reason(model, self._callback) is not None:
            return False
        from sb3_a2c_td.compiled.trainer import fits  # imports numba

        engine = _numba_engine(model)
        assert engine is not None
        if model.rollout_buffer.storage is None:
            model.rollout_buffer.allocate(self._empty_transitions())
        return fits(*self._envs, engine.mlp, model.rollout_buffer, model.n_steps)

    def _empty_transitions(self) -> Transitions[np.ndarray]:
        model, n = self._model, self._model.n_envs
        space = model.action_space
        observations = np.zeros((n, *cast(np.ndarray, model._last_observations).shape[1:]), np.float32)
        actions = np.zeros((n, *cast(tuple[int, ...], space.shape)), compiled_dtype(space))
        rewards, ends = np.zeros(n, np.float32), np.zeros(n, bool)
        return Transitions(observations, actions, rewards, observations, ends, ends)

    def _steps_until_event(self, max_updates: float) -> int:
        """Return how many steps come before the next event, which is left to Python.

        :param max_updates: updates before a rollout that Python trains on
        """
        model = self._model
        until_complete = (max_updates + 1) * model.n_steps - model.rollout_buffer.n_steps
        steps_left = math.ceil((model._total_timesteps - model.num_timesteps) / model.n_envs)
        until_due = steps_until_due(self._callback, model.n_envs)
        return int(max(0, min(steps_left - 1, until_due - 1, until_complete)))

    def _run(self, n_steps: int, max_updates: float) -> Progress:
        """Train for some steps, or until something needs Python."""
        model = self._model
        assert model.env is not None
        rates = self._learning_rates(n_steps)
        model._reset_if_moved(model.env)
        if not self._is_loaded:
            # compiles: a signal need not wait for that
            self._train(rates[:, :0], 0)
            compilation.report()
            self._is_loaded = True
        # a signal finds the model before these steps or after them
        with model._interrupts:
            began, moment = time.perf_counter(), time.time()
            trained = self._train(rates, max_updates)
            seconds = time.perf_counter() - began
            self._take_over(trained, moment, seconds)
            if trained.progress.step_failed:
                # the state of the environments is unknown: the next learn() resets them
                model._last_obs = None
        self._raise_failure(trained)
        self._n_steps = max(1, min(2 * self._n_steps, int(SECONDS * trained.progress.n_steps / seconds)))
        return trained.progress

    @property
    def _envs(self) -> CompiledEnvs:
        envs = compiled_envs(self._model.env)
        assert envs is not None
        return envs

    def _learning_rates(self, n_steps: int) -> np.ndarray:
        """Return the learning rates of actor and critic in an update after each step.

        :param n_steps: the number of steps
        :return: ``(2, n)``; n is below ``n_steps`` if a schedule raises an error after n steps
        """
        model, total = self._model, float(self._model._total_timesteps)
        steps = model.num_timesteps + model.n_envs * np.arange(1, n_steps + 1)
        actor = _rates("learning_rate", model.lr_schedule, steps, total)
        critic = _rates("critic_learning_rate", model.critic_lr_schedule, steps, total)
        n = min(len(actor), len(critic))
        return np.stack([actor[:n], critic[:n]])

    def _train(self, rates: np.ndarray, max_updates: float) -> Trained:
        from sb3_a2c_td.compiled.trainer import train_compiled  # imports numba

        model, engine, n_steps = self._model, _numba_engine(self._model), rates.shape[1]
        assert engine is not None
        env, vec_normalize = self._envs
        rng = model._streams.actions
        state = rng.bit_generator.state
        noise = engine.noise(n_steps * env.num_envs, rng)
        trained = train_compiled(
            env,
            vec_normalize,
            engine.mlp,
            model._loss_config(),
            model.rollout_buffer,
            model.n_steps,
            model._ends_with_episode,
            cast(np.ndarray, model._last_observations),
            noise.reshape(n_steps, env.num_envs, noise.shape[1]),
            rates,
            int(min(max_updates, sys.maxsize)),
        )
        if trained.progress.n_steps < n_steps:
            # draw again what was used
            rng.bit_generator.state = state
            engine.noise(trained.progress.n_steps * env.num_envs, rng)
        return trained

    def _take_over(self, trained: Trained, began: float, seconds: float) -> None:
        """Bring the model and the callbacks into the state in which the same steps in Python would leave them.

        :param trained: the steps
        :param began: when they began, as ``time.time`` returns it
        :param seconds: how long they took
        """
        model, progress = self._model, trained.progress
        if progress.n_steps == 0:
            return
        first_step = model.num_timesteps
        model.num_timesteps += progress.n_steps * model.n_envs
        model._store_last_obs(trained.observations, trained.step.ended.copy())
        assert model._moves is not None
        model._moves.accept()
        self._record_episodes(trained, began, seconds)
        if progress.n_updates > 0:
            model._n_updates += progress.n_updates
            steps_at_update = first_step + progress.last_update * model.n_envs
            model._update_current_progress_remaining(steps_at_update, model._total_timesteps)
            model._update_learning_rate(model.policy.optimizer)
            if progress.larger_updates > 0:
                # of one transition it is not defined, and the last value stays in the log
                model.logger.record("train/explained_variance", progress.explained_variance)
            model._log_update(trained.update)
        # last, since it may raise an error
        returns, lengths, steps = (array[: progress.n_episodes] for array in trained.episodes)
        ended = EndedEpisodes(first_step + steps * model.n_envs, returns, lengths)
        skip(self._callback, progress.n_steps - progress.step_failed, ended)

    def _record_episodes(self, trained: Trained, began: float, seconds: float) -> None:
        model, statistics, n = self._model, self._envs.env.statistics, trained.progress.n_episodes
        assert model.ep_info_buffer is not None
        window = model.ep_info_buffer.maxlen
        last = slice(0 if window is None else max(0, n - window), n)
        moments = began + seconds * trained.episodes.steps[last] / trained.progress.n_steps
        for value, length, moment in zip(
            trained.episodes.returns[last].tolist(),
            trained.episodes.lengths[last].tolist(),
            moments.tolist(),
            strict=True,
        ):
            model.ep_info_buffer.append({"r": round(value, 6), "l": length, "t": statistics.seconds(moment)})

    def _raise_failure(self, trained: Trained) -> None:
        if trained.error is not None:
            raise trained.error
        if trained.progress.step_failed:
            step, n_steps = trained.step, self._model.num_timesteps
            check_finite(n_steps, reward=step.rewards, observation=step.observations)
            # others may be unused: the loop has stopped at one of these
            used = np.where(step.truncated[:, np.newaxis], step.next_observations, step.observations)
            check_finite(n_steps, terminal_observation=used)


def _rates(name: str, schedule: Schedule, steps: np.ndarray, total_steps: float) -> np.ndarray:
    """Return the learning rates of a schedule after each step, up to the first one that it cannot return."""
    if isinstance(schedule, FloatSchedule) and isinstance(schedule.value_schedule, ConstantSchedule):
        return np.full(len(steps), schedule.value_schedule.val, np.float64)
    if isinstance(schedule, FloatSchedule) and type(schedule.value_schedule) is LinearSchedule:
        rates = _linear_rates(schedule.value_schedule, 1.0 - np.minimum(steps, total_steps) / total_steps)
        if np.isfinite(rates).all() and (rates >= 0.0).all():
            return rates
    return _rates_one_by_one(name, schedule, steps, total_steps)


def _linear_rates(schedule: LinearSchedule, progress_remaining: np.ndarray) -> np.ndarray:
    """Return what the schedule returns for each number, with the same operations."""
    passed = 1 - progress_remaining
    rates = schedule.start + passed * (schedule.end - schedule.start) / schedule.end_fraction
    return np.where(passed > schedule.end_fraction, float(schedule.end), rates)


def _rates_one_by_one(name: str, schedule: Schedule, steps: np.ndarray, total_steps: float) -> np.ndarray:
    rates: list[float] = []
    # Python calls it again for the same step, and raises the error
    with suppress(Exception):
        for progress_remaining in (1.0 - np.minimum(steps, total_steps) / total_steps).tolist():
            rates.append(scheduled_rate(name, schedule, progress_remaining))
    return np.array(rates, np.float64)
