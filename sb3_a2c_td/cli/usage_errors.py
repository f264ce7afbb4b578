"""Usage errors end a command with exit code 2 and a message, without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym

USAGE_ERRORS = (gym.error.Error, AssertionError, ImportError, OSError, RuntimeError, TypeError, ValueError)
"""what Gymnasium, SB3, PyTorch and this package raise for invalid arguments and files"""


IMPORT_HINT = (
    "If a package registers the environment when it is imported, put its name in front: ale_py:ALE/Pong-v5. Modules in "
    "the current folder are found, too: my_envs:Corridor-v0"
)


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors into exit code 2 with their messages: ``with usage_errors.reported(): ...``.

    Wrap only code that reads and checks arguments, since code that fails for other reasons needs a traceback.

    :raises SystemExit: instead of the error
    """
    try:
        yield
    except USAGE_ERRORS as error:
        lines = [f"Error: {error}", *getattr(error, "__notes__", [])]
        if isinstance(error, gym.error.NamespaceNotFound | gym.error.NameNotFound | gym.error.UnregisteredEnv):
            lines.append(IMPORT_HINT)
        print("\n".join(lines), file=sys.stderr)
        raise SystemExit(2) from error
