"""Callbacks that save models and show progress."""

from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.type_aliases import MaybeCallback


def check_callback(callback: MaybeCallback) -> None:
    """Check the argument ``callback`` of :meth:`TDA2C.learn`.

    :param callback: the argument
    :raises ValueError: if it is not ``None``, a callback, a list of callbacks or a function
    """
    callbacks = callback if isinstance(callback, list) else [callback]
    is_function = callable(callback) and not isinstance(callback, type)
    if not (callback is None or is_function or all(isinstance(each, BaseCallback) for each in callbacks)):
        raise ValueError(f"callback={callback!r} is not a callback, a list of callbacks, a function or None")


def callback_list(callback: MaybeCallback) -> list[BaseCallback]:
    """Return callbacks as a list.

    :param callback: as in :meth:`TDA2C.learn`: ``None``, a callback, a list of callbacks or a function
    :raises ValueError: if it is something else
    """
    check_callback(callback)
    if callback is None:
        return []
    if isinstance(callback, list):
        return callback
    if isinstance(callback, BaseCallback):
        return [callback]
    return [ConvertCallback(callback)]


class SaveEvery(BaseCallback):
    """Saves the model to the same zip every ``n_steps`` environment steps.

    SB3's ``CheckpointCallback`` counts its own calls and writes a new file each time. ``EveryNTimesteps`` counts from
    zero, so that it would save at the first step of every continued training.

    :param n_steps: the number of environment steps between two saves
    :param path: the zip
    """

    def __init__(self, n_steps: int, path: Path) -> None:
        super().__init__()
        self._n_steps = n_steps
        self._path = path

    def _on_training_start(self) -> None:
        self._last_save = self.num_timesteps

    def _on_step(self) -> bool:
        if self.num_timesteps - self._last_save >= self._n_steps:
            self._last_save = self.num_timesteps
            self.model.save(self._path)
        return True


class ProgressBar(ProgressBarCallback):
    """SB3's progress bar, counting the steps of all processes instead of those of this one."""

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._first_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.pbar.update(self.model.num_timesteps - self._first_step - self.pbar.n)
        return True
