"""Ctrl-C (SIGINT), for the library and for the command line.

Python handles signals in the main thread only, so handlers are installed there and nowhere else.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]
"""a signal handler, as ``signal.signal`` takes it"""


@contextmanager
def _installed(handler: Handler) -> Iterator[None]:
    """Handle SIGINT by a function, and restore the previous handler unless another one was installed meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, handler)
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, previous)


class Interrupts:
    """Delays Ctrl-C while an update must not be interrupted: ``with interrupts: ...``.

    This works within :meth:`installed`. A second Ctrl-C is not delayed.
    """

    def __init__(self) -> None:
        self._is_delaying = False
        self._delayed: Callable[[], Any] | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT while the context lasts, and pass it on to the previous handler.

        Contexts may be nested, as when a callback calls ``learn`` of the same model: each one passes SIGINT on to the
        one around it. Where SIGINT is ignored, it stays ignored.
        """
        previous = signal.getsignal(signal.SIGINT)
        if not callable(previous):
            yield
            return

        def delay_or_pass_on(signum: int, frame: FrameType | None) -> None:
            if self._is_delaying and self._delayed is None:
                self._delayed = partial(previous, signum, frame)
            else:
                previous(signum, frame)

        with _installed(delay_or_pass_on):
            yield

    def __enter__(self) -> None:
        self._is_delaying = True

    def __exit__(self, *_: object) -> None:
        self._is_delaying = False
        if self._delayed is not None:
            delayed, self._delayed = self._delayed, None
            delayed()


@contextmanager
def handled_once(handler: Handler = signal.default_int_handler) -> Iterator[None]:
    """Handle the first Ctrl-C, and ignore further ones until the program ends, so that they cannot interrupt saving.

    :param handler: called at the first Ctrl-C; by default, it raises ``KeyboardInterrupt``
    """

    def ignore_next(signum: int, frame: FrameType | None) -> None:
        leave_to_parent()
        handler(signum, frame)

    with _installed(ignore_next):
        yield


def leave_to_parent() -> None:
    """Ignore Ctrl-C in this process. A terminal sends it to all processes, and the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def blocked() -> Iterator[None]:
    """Block Ctrl-C here and in processes started meanwhile; this process receives it when the context ends.

    Windows cannot block signals, so this does nothing there.
    """
    if sys.platform == "win32":
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
