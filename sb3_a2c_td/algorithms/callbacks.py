"""Callbacks that save models, stop training, print episodes and show progress."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_a2c_td.faults.interrupts import Interrupts
from sb3_a2c_td.rollout.validation import check_episode


def callback_list(callback: MaybeCallback) -> list[BaseCallback]:
    """Return callbacks as a list.

    :param callback: as in :meth:`TDA2C.learn`: ``None``, a callback, a list of callbacks or a function
    :raises ValueError: if it is something else
    """
    if callback is None:
        return []
    if isinstance(callback, BaseCallback):
        return [callback]
    if isinstance(callback, list):
        if all(isinstance(each, BaseCallback) for each in callback):
            return callback
    elif callable(callback) and not isinstance(callback, type):
        return [ConvertCallback(callback)]
    raise ValueError(f"callback={callback!r} is not a callback, a list of callbacks, a function or None")


class SaveEvery(BaseCallback):
    """Saves the model every ``n_steps`` environment steps.

    SB3's ``CheckpointCallback`` counts its own calls and writes a new file each time. ``EveryNTimesteps`` counts from
    zero, so that it would save at the first step of every continued training.

    :param n_steps: the number of environment steps between two saves
    :param save: saves the model
    """

    def __init__(self, n_steps: int, save: Callable[[], object]) -> None:
        super().__init__()
        self.n_steps = n_steps
        self._save = save

    def _on_training_start(self) -> None:
        self.last_save = self.num_timesteps

    def _on_step(self) -> bool:
        if self.num_timesteps - self.last_save >= self.n_steps:
            self.last_save = self.num_timesteps
            self._save()
        return True


class Episode(NamedTuple):
    """An episode that ended in training."""

    end: int
    """steps of all environments after its last step (``num_timesteps``)"""
    value: float
    """its return, as ``Monitor`` rounds it"""
    length: int


class EpisodeCallback(BaseCallback, ABC):
    """Receives each episode that ends.

    Compiled training need not stop for it: it hands over the episodes of many steps at a time.
    """

    @abstractmethod
    def on_episodes(self, episodes: list[Episode]) -> None:
        """Receive the next episodes.

        :param episodes: in the order in which they ended
        """

    def _on_step(self) -> bool:
        # like SB3, some environments report None in other steps
        ended = [info["episode"] for info in self.locals["infos"] if info.get("episode") is not None]
        for episode in ended:
            check_episode(episode)
        self.on_episodes([Episode(self.num_timesteps, episode["r"], episode["l"]) for episode in ended])
        return True


class PrintEpisodes(EpisodeCallback):
    """Prints the number and the unscaled return of each finished episode, as the reference program does."""

    def _on_training_start(self) -> None:
        self.n_episodes = 0

    def on_episodes(self, episodes: list[Episode]) -> None:
        """Print the next episodes, in one call, since a progress bar draws itself again after each."""
        if episodes:
            lines = [f"EP{n} EpisodeReward={episode.value}" for n, episode in enumerate(episodes, self.n_episodes)]
            print("\n".join(lines))
            self.n_episodes += len(episodes)


class StopOnRequest(BaseCallback):
    """Stops training after the step in which something asked for it. Compiled training asks less often.

    :param is_requested: returns whether to stop; called in every step
    """

    def __init__(self, is_requested: Callable[[], bool]) -> None:
        super().__init__()
        self.is_requested = is_requested

    def _on_step(self) -> bool:
        return not self.is_requested()


class ProgressBar(ProgressBarCallback):
    """SB3's progress bar, counting the steps of all processes instead of those of this one.

    :param interrupts: delay stop signals while the bar is set up
    """

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__()
        self._interrupts = interrupts

    def _on_training_start(self) -> None:
        with self._interrupts:
            super()._on_training_start()
        self._first_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.show_steps()
        return True

    def show_steps(self) -> None:
        """Show the steps of the model."""
        self.pbar.update(self.model.num_timesteps - self._first_step - self.pbar.n)


@contextmanager
def with_progress_bar(callback: MaybeCallback, shown: bool, interrupts: Interrupts) -> Iterator[list[BaseCallback]]:
    """Add a progress bar to callbacks, and close it at the end, also after an exception.

    ``rich`` draws a bar in a thread, which would continue, and refuses a second bar. An SB3 ``ProgressBarCallback``
    among the callbacks is closed, too.

    :param callback: as in :meth:`TDA2C.learn`
    :param shown: whether to add a bar
    :param interrupts: delay stop signals while bars are set up and closed
    :return: the callbacks
    :raises ValueError: if ``callback`` is something else
    """
    callbacks = [*callback_list(callback), *([ProgressBar(interrupts)] if shown else [])]
    try:
        yield callbacks
    finally:
        with interrupts:
            for each in nested_callbacks(callbacks):
                # a bar that was set up
                if isinstance(each, ProgressBarCallback) and hasattr(each, "pbar"):
                    each.pbar.close()


def nested_callbacks(callbacks: Iterable[BaseCallback]) -> Iterator[BaseCallback]:
    """Iterate over callbacks, and over those that they call.

    :param callbacks: the callbacks
    """
    for callback in callbacks:
        yield callback
        children = callback.callbacks if isinstance(callback, CallbackList) else [getattr(callback, "callback", None)]
        yield from nested_callbacks(child for child in children if isinstance(child, BaseCallback))
