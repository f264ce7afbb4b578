"""Logs with the same keys in every format, and progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.logger import Logger


@contextmanager
def excluding_nothing(logger: Logger) -> Iterator[None]:
    """While this lasts, what is recorded goes to every format, also to those that SB3 would exclude from it.

    :param logger: the logger
    """
    record = logger.record

    def record_for_all(key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        record(key, value)

    logger.record = record_for_all  # type: ignore[method-assign]
    try:
        yield
    finally:
        del logger.record


class ProgressBar(ProgressBarCallback):
    """SB3's progress bar, which counts the model's steps, not those of this process's environments alone."""

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._first_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.pbar.update(self.model.num_timesteps - self._first_step - self.pbar.n)
        return True
