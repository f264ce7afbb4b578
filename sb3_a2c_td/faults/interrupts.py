"""Signals that ask a process to stop: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

Schedulers, containers and ``timeout`` send SIGTERM, a closed terminal sends SIGHUP. Python handles signals in the main
thread only, so handlers are installed there and nowhere else.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], Any]
"""a signal handler, as ``signal.signal`` takes it"""

# Windows has no SIGHUP
STOP_SIGNALS = tuple(each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGHUP"))


def exit_process(signum: int, frame: FrameType | None = None) -> NoReturn:
    """Handle a signal by an exception that ends the process with the conventional exit code.

    :param signum: the signal
    :param frame: the interrupted frame
    :raises KeyboardInterrupt: for SIGINT, as Python does
    :raises SystemExit: for other signals, with 128 + their number
    """
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + signum)


@contextmanager
def _installed(signum: int, handler: Handler) -> Iterator[None]:
    """Handle a signal by a function, and restore the previous handler unless another one was installed meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signum)
    try:
        signal.signal(signum, handler)
        yield
    finally:
        if signal.getsignal(signum) is handler:
            signal.signal(signum, previous)


@contextmanager
def _handling(handler_after: Callable[[Any], Handler | None]) -> Iterator[None]:
    """Handle stop signals while the context lasts.

    :param handler_after: returns the handler that follows the given one, or ``None`` to keep that one
    """
    with ExitStack() as handlers:
        for signum in STOP_SIGNALS:
            handler = handler_after(signal.getsignal(signum))
            if handler is not None:
                handlers.enter_context(_installed(signum, handler))
        yield


class Interrupts:
    """Delays stop signals while an update must not be interrupted: ``with interrupts: ...``.

    This works within :meth:`installed`. A second Ctrl-C is not delayed. A repeated SIGTERM or SIGHUP is merged with the
    delayed one.
    """

    def __init__(self) -> None:
        self._is_delaying = False
        self._delayed: dict[int, Callable[[], Any]] = {}

    def installed(self) -> AbstractContextManager[None]:
        """Handle stop signals while the context lasts, and pass them on to the previous handlers.

        Contexts may be nested, as when a callback calls ``learn`` of the same model: each one passes signals on to the
        one around it. Signals that are ignored, or have the system's default action, keep it.
        """
        return _handling(lambda previous: partial(self._delay_or_pass_on, previous) if callable(previous) else None)

    def _delay_or_pass_on(self, previous: Handler, signum: int, frame: FrameType | None) -> None:
        if self._is_delaying and signum not in self._delayed:
            self._delayed[signum] = partial(previous, signum, frame)
        elif not self._is_delaying or signum == signal.SIGINT:
            previous(signum, frame)

    def __enter__(self) -> None:
        self._is_delaying = True

    def __exit__(self, *_: object) -> None:
        self._is_delaying = False
        if self._delayed:
            delayed, self._delayed = self._delayed, {}
            # all of them, even if one raises
            with ExitStack() as handlers:
                for handle in reversed(delayed.values()):
                    handlers.callback(handle)


class StopRequest:
    """Records the first stop signal, so that a training can end between two steps.

    A second Ctrl-C ends the process at once. A repeated SIGTERM or SIGHUP changes nothing.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        """the signal; ``None``: none came yet"""
        self.ends_at_once = False
        """whether Ctrl-C came after another signal"""

    def installed(self) -> AbstractContextManager[None]:
        """Record signals while the context lasts, except for those that are ignored or have a handler of the user."""
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        return _handling(lambda previous: self._record if previous in defaults else None)

    def _record(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        elif signum == signal.SIGINT:
            self.ends_at_once = True
            exit_process(signum, frame)

    def is_set(self) -> bool:
        """Check whether a signal came."""
        return self.signum is not None

    def exit_if_set(self) -> None:
        """End the process if a signal came, see :func:`exit_process`."""
        if self.signum is not None:
            exit_process(self.signum)


def handled(handler: Handler = exit_process) -> AbstractContextManager[None]:
    """Handle stop signals by a function while the context lasts. Signals that are ignored stay ignored.

    :param handler: called at each signal
    """
    # None: code outside of Python handles it
    return _handling(lambda previous: None if previous in (signal.SIG_IGN, None) else handler)


@contextmanager
def handled_once(handler: Handler = exit_process) -> Iterator[None]:
    """Handle the first stop signal, and ignore further ones until the program ends, so that saving is not interrupted.

    :param handler: called at the first signal
    """
    came = False

    def handle_first(signum: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            handler(signum, frame)

    with handled(handle_first):
        try:
            yield
        finally:
            # in the handler it would be too early: Python prints an error for a second signal that came together with
            # the first one, if it is ignored by the time Python handles it
            if came:
                ignore()


def ignore() -> None:
    """Ignore stop signals until the program ends. This does nothing outside of the main thread."""
    if threading.current_thread() is threading.main_thread():
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)


def leave_to_parent() -> None:
    """Ignore stop signals in this process: terminals and schedulers send them to the parent, too, which handles them.

    Only the first SIGTERM is ignored, since a parent that fails sends further ones to end this process.
    """
    ignore()
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if sys.platform != "win32":
        # it may have been started within blocked()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextmanager
def blocked() -> Iterator[None]:
    """Block stop signals here and in processes started meanwhile; this process receives them when the context ends.

    Windows cannot block signals, so this does nothing there.
    """
    if sys.platform == "win32":
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
