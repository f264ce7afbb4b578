"""Ctrl-C, which may have to wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Lets Ctrl-C wait while something is done that must not be left half done: ``with interrupts: ...``.

    That works inside of :meth:`installed`, in the main thread, where Python handles signals; elsewhere nothing happens.
    A second Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._must_wait = False
        self._waiting: tuple[int, FrameType | None] | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take SIGINT over as long as the context lasts, and hand it on to whoever handled it before."""
        before = signal.getsignal(signal.SIGINT)
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            # it still is where Ctrl-C came while it was handed back
            if before != self._handle:
                self._handler = before
                signal.signal(signal.SIGINT, self._handle)
            yield
        finally:
            # unless someone else has taken it over in the meantime
            if signal.getsignal(signal.SIGINT) == self._handle:
                signal.signal(signal.SIGINT, self._handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._must_wait and self._waiting is None:
            self._waiting = signum, frame
        else:
            self._handler(signum, frame)

    def __enter__(self) -> None:
        self._must_wait = True

    def __exit__(self, *_: object) -> None:
        self._must_wait = False
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._handler(*waiting)
