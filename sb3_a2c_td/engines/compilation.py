"""The lines that say why training pauses: numba compiles the kernels."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

NOTICE = "Compiling with numba. This takes some seconds, once: later runs load the compiled code from disk."


@dataclass
class _Compilations:
    """The compilations in a context. Compiling a kernel compiles those that it calls."""

    depth: int = 0
    began: float = 0.0
    seconds: float = 0.0
    is_announced: bool = False


_current: ContextVar[_Compilations | None] = ContextVar("_current", default=None)


@contextmanager
def announced_compilation() -> Iterator[None]:
    """Print a line when the first kernel is compiled in this context, and how long compiling took.

    Nothing is printed if kernels are loaded from disk.
    """
    token = _current.set(_Compilations())
    try:
        yield
    finally:
        report()
        _current.reset(token)


def report() -> None:
    """Print how long the compilations since the last report took, if there were any in this context."""
    compilations = _current.get()
    if compilations is not None and compilations.seconds > 0:
        print(f"Compiling took {compilations.seconds:.1f} s.", flush=True)
        compilations.seconds = 0.0


def begin() -> None:
    """Announce a compilation if that is due, and measure it until :func:`end`."""
    compilations = _current.get()
    if compilations is None:
        return
    if not compilations.is_announced:
        print(NOTICE, flush=True)
        compilations.is_announced = True
    if compilations.depth == 0:
        compilations.began = time.perf_counter()
    compilations.depth += 1


def end() -> None:
    """Stop measuring."""
    compilations = _current.get()
    if compilations is not None and compilations.depth > 0:
        compilations.depth -= 1
        if compilations.depth == 0:
            compilations.seconds += time.perf_counter() - compilations.began
