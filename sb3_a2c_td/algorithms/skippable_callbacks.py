"""Callbacks that do nothing in most steps, and say when they do: compiled training skips their other calls."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
)

from sb3_a2c_td.algorithms.callbacks import Episode, EpisodeCallback, ProgressBar, SaveEvery, StopOnRequest

StepsUntilDue = Callable[[Any, int], float]


def _until_multiple(n_calls: int, freq: int) -> float:
    return freq - n_calls % freq if freq > 0 else math.inf


def _until_elapsed(n_timesteps: int, callback: BaseCallback, last: int, n_envs: int) -> float:
    return math.ceil((n_timesteps - (callback.num_timesteps - last)) / n_envs)


METHODS = (
    "on_step",
    "_on_step",
    "on_rollout_start",
    "_on_rollout_start",
    "on_rollout_end",
    "_on_rollout_end",
    "update_locals",
    "update_child_locals",
)
"""methods of callbacks that are called in every step or rollout"""

# exact types, since a subclass may do something in every step
STEPS_UNTIL_DUE: dict[type[BaseCallback], StepsUntilDue] = {
    EvalCallback: lambda callback, n_envs: _until_multiple(callback.n_calls, callback.eval_freq),
    CheckpointCallback: lambda callback, n_envs: _until_multiple(callback.n_calls, callback.save_freq),
    EveryNTimesteps: lambda callback, n_envs: _until_elapsed(
        callback.n_steps, callback, callback.last_time_trigger, n_envs
    ),
    SaveEvery: lambda callback, n_envs: _until_elapsed(callback.n_steps, callback, callback.last_save, n_envs),
    # in each step, one episode may end in each environment
    StopTrainingOnMaxEpisodes: lambda callback, n_envs: math.ceil(
        (callback._total_max_episodes - callback.n_episodes) / n_envs
    ),
    StopOnRequest: lambda callback, n_envs: 1 if callback.is_requested() else math.inf,
    # skip() does what they would have done
    ProgressBarCallback: lambda callback, n_envs: math.inf,
    ProgressBar: lambda callback, n_envs: math.inf,
}
"""for each skippable callback, the steps until it does something, with this number of environments"""


class EndedEpisodes(NamedTuple):
    """Episodes that ended in skipped steps, in their order."""

    ends: np.ndarray
    """steps of all environments after the last step of each"""
    returns: np.ndarray
    lengths: np.ndarray

    def as_list(self) -> list[Episode]:
        """Return them one by one."""
        rows = zip(self.ends.tolist(), self.returns.tolist(), self.lengths.tolist(), strict=True)
        return [Episode(end, round(value, 6), length) for end, value, length in rows]


def needing_every_step(callback: BaseCallback) -> BaseCallback | None:
    """Return a callback that has to be called in every step, or ``None``.

    :param callback: a callback, or a list of them
    """
    return next(filter(_needs_every_step, _leaves(callback)), None)


def steps_until_due(callback: BaseCallback, n_envs: int) -> float:
    """Return after how many steps, counted from 1, a skippable callback has to be called.

    :param callback: a callback, or a list of them
    :param n_envs: the number of environments
    """
    due = [each for each in _leaves(callback) if type(each) in STEPS_UNTIL_DUE]
    return min((STEPS_UNTIL_DUE[type(each)](each, n_envs) for each in due), default=math.inf)


def skip(callback: BaseCallback, n_steps: int, ended: EndedEpisodes) -> None:
    """Bring a callback into the state in which its calls would have left it.

    :param callback: a callback, or a list of them, with the model after these steps
    :param n_steps: the steps in which it was not called
    :param ended: the episodes that ended in them
    """
    callback.n_calls += n_steps
    callback.num_timesteps = callback.model.num_timesteps
    if isinstance(callback, CallbackList):
        for each in callback.callbacks:
            skip(each, n_steps, ended)
    elif isinstance(callback, StopTrainingOnMaxEpisodes):
        callback.n_episodes += len(ended.ends)
    elif isinstance(callback, EpisodeCallback):
        callback.on_episodes(ended.as_list())
    elif isinstance(callback, ProgressBar):
        callback.show_steps()
    elif isinstance(callback, ProgressBarCallback):
        callback.pbar.update(n_steps * callback.training_env.num_envs)


def _needs_every_step(callback: BaseCallback) -> bool:
    if _is_changed(callback):
        return True
    if type(callback) in STEPS_UNTIL_DUE:
        return False
    kind = type(callback)
    return not isinstance(callback, EpisodeCallback) or any(
        getattr(kind, name) is not getattr(EpisodeCallback, name) for name in METHODS
    )


def _is_changed(callback: BaseCallback) -> bool:
    """Check whether one of this callback's methods was replaced."""
    return any(name in vars(callback) for name in METHODS)


def _leaves(callback: BaseCallback) -> Iterable[BaseCallback]:
    if type(callback) is CallbackList and not _is_changed(callback):
        for each in callback.callbacks:
            yield from _leaves(each)
    else:
        yield callback
