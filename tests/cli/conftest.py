import signal
from collections.abc import Iterator

import pytest

from sb3_a2c_td.faults.interrupts import STOP_SIGNALS


@pytest.fixture(autouse=True)
def _default_handlers() -> Iterator[None]:
    """Each test begins with Python's handlers of signals, and ends with those of before."""
    default = dict.fromkeys(STOP_SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    previous = {signum: signal.signal(signum, handler) for signum, handler in default.items()}
    yield
    for signum, handler in previous.items():
        signal.signal(signum, handler)
