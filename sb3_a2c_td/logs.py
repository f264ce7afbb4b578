"""Logs with the same keys in every format."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
