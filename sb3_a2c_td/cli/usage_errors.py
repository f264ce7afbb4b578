"""Usage errors end a command with exit code 2 and a message, without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym

USAGE_ERRORS = (gym.error.Error, AssertionError, ImportError, OSError, RuntimeError, TypeError, ValueError)
"""what Gymnasium, SB3, PyTorch and this package raise for invalid arguments and files"""


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors into exit code 2 with their messages: ``with usage_errors.reported(): ...``.

    Wrap only code that reads and checks arguments, since code that fails for other reasons needs a traceback.

    :raises SystemExit: instead of the error
    """
    try:
        yield
    except USAGE_ERRORS as error:
        print("Error:", "\n".join([str(error), *getattr(error, "__notes__", [])]), file=sys.stderr)
        raise SystemExit(2) from error
