"""Users' mistakes: exit code 2 and a message, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym
import typer

MISTAKES = (gym.error.Error, AssertionError, ImportError, OSError, RuntimeError, TypeError, ValueError)
"""what gymnasium, SB3, PyTorch and this package raise over arguments and files that do not serve"""


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors over what the user gave into exit code 2 with their messages: ``with usage_errors.reported(): ...``.

    It goes around what checks and reads arguments, not around what may fail for other reasons.
    """
    try:
        yield
    except MISTAKES as error:
        raise typer.BadParameter("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
