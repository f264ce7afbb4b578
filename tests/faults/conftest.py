"""No test here may hang, or leave a process."""

import signal
from collections.abc import Iterator
from multiprocessing import active_children

import pytest


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    # far more than any test takes
    signal.setitimer(signal.ITIMER_REAL, 300, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    for process in active_children():
        process.kill()
        process.join()


@pytest.fixture(autouse=True)
def _sigint_handler_is_restored() -> Iterator[None]:
    """A Ctrl-C in the middle of restoring the handler leaves one that passes signals on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)
