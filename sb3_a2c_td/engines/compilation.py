"""The line that says why training pauses: numba compiles the kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NOTICE = "Compiling the engine with numba. This takes some seconds; later runs load the compiled code from disk."

_is_announced: ContextVar[bool] = ContextVar("_is_announced", default=False)


@contextmanager
def announced_compilation() -> Iterator[None]:
    """Print a line if kernels are compiled in this context: at most one, and none if they are loaded from disk."""
    token = _is_announced.set(True)
    try:
        yield
    finally:
        _is_announced.reset(token)


def announce() -> None:
    """Print the line if it is due. Called when a compilation begins."""
    if _is_announced.get():
        _is_announced.set(False)
        print(NOTICE, flush=True)
