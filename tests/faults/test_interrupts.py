"""Stop signals are delayed, recorded, handled once, blocked or ignored."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sb3_a2c_td import TDA2C
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.faults.interrupts import Interrupts, StopRequest
from tests.environments import CountingEnv

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
each_signal = pytest.mark.parametrize("signum", SIGNALS)
each_context = pytest.mark.parametrize("context", [Interrupts().installed, interrupts.handled_once])


def record(signum: int, frame: object) -> None:
    received.append(signum)


received: list[int] = []


@pytest.fixture(autouse=True)
def _recorded() -> Iterator[None]:
    """Record each signal, as a user's handler may do."""
    received.clear()
    previous = {signum: signal.signal(signum, record) for signum in SIGNALS}
    yield
    for signum, handler in previous.items():
        signal.signal(signum, handler)


@pytest.fixture
def _default_actions() -> None:
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Interrupts


@each_signal
def test_signal_is_delayed_until_the_context_ends(signum: int) -> None:
    delaying = Interrupts()
    with delaying.installed():
        with delaying:
            signal.raise_signal(signum)
            assert received == []
        assert received == [signum]
        signal.raise_signal(signum)
    assert received == [signum] * 2


def test_a_second_ctrl_c_is_not_delayed() -> None:
    delaying = Interrupts()
    with delaying.installed(), delaying:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGINT]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_repeated_signals_are_merged(signum: int) -> None:
    """The program ``timeout`` sends SIGTERM twice."""
    delaying = Interrupts()
    with delaying.installed():
        with delaying:
            signal.raise_signal(signum)
            signal.raise_signal(signum)
            assert received == []
        assert received == [signum]


def test_different_signals_are_all_delayed() -> None:
    delaying = Interrupts()
    with delaying.installed():
        with delaying:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGTERM, signal.SIGINT]


def test_ctrl_c_is_delayed_after_a_nested_installation_ends() -> None:
    delaying = Interrupts()
    with delaying.installed():
        with delaying.installed():
            pass
        with delaying:
            signal.raise_signal(signal.SIGINT)
            assert received == []
        assert received == [signal.SIGINT]


@each_signal
def test_an_update_is_protected_after_a_nested_learn_of_the_same_model(
    signum: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TDA2C("MlpPolicy", CountingEnv(100), seed=0, device="cpu")
    update = model._engine.update
    received_in_update: list[int] = []

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(signum)
        received_in_update.extend(received)
        return update(*args)

    def learn_once(*_: object) -> bool:
        if model.num_timesteps == 3:
            # takes one step, in which no update is due
            model.learn(1_000, lambda *_: False, reset_num_timesteps=False)
            assert model._n_updates == 0
            monkeypatch.setattr(model._engine, "update", interrupted)
        return model._n_updates == 0

    model.learn(1_000, learn_once)
    assert model._n_updates == 1
    assert received_in_update == []
    assert received == [signum]


def test_nested_installations_of_several_models_pass_ctrl_c_on_once() -> None:
    first, second = Interrupts(), Interrupts()
    with first.installed(), second.installed(), first.installed():
        signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT]


@pytest.mark.usefixtures("_default_actions")
def test_learn_leaves_the_default_actions() -> None:
    """A program that handles no signals ends at once, as without this package."""
    found: list[Any] = []

    def look(*_: object) -> bool:
        found.extend(signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGHUP))
        return False

    TDA2C("MlpPolicy", CountingEnv(100), seed=0, device="cpu").learn(10, look)
    assert found == [signal.SIG_DFL, signal.SIG_DFL]


# All ways to handle signals


@each_signal
@each_context
def test_the_previous_handler_is_restored(context: Callable[[], Any], signum: int) -> None:
    with context():
        assert signal.getsignal(signum) is not record
    assert signal.getsignal(signum) is record


@each_context
def test_a_handler_installed_meanwhile_is_kept(context: Callable[[], Any]) -> None:
    def other(signum: int, frame: object) -> None:
        pass

    with context():
        signal.signal(signal.SIGINT, other)
    assert signal.getsignal(signal.SIGINT) is other


@each_signal
@pytest.mark.parametrize("context", [Interrupts().installed, interrupts.handled_once, StopRequest().installed])
def test_ignored_signals_stay_ignored(context: Callable[[], Any], signum: int) -> None:
    """``nohup`` ignores SIGHUP, for example."""
    signal.signal(signum, signal.SIG_IGN)
    with context():
        signal.raise_signal(signum)
        assert signal.getsignal(signum) is signal.SIG_IGN
    assert signal.getsignal(signum) is signal.SIG_IGN


@each_context
def test_handlers_are_installed_in_the_main_thread_only(context: Callable[[], Any]) -> None:
    handlers = []

    def look() -> None:
        with context():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [record]


# Ending the process


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_only_the_first_signal_ends_the_process(signum: int, exit_code: int) -> None:
    def interrupted_twice() -> None:
        with interrupts.handled_once():
            try:
                signal.raise_signal(signum)
            finally:
                for each in SIGNALS:
                    signal.raise_signal(each)

    with pytest.raises(SystemExit) as raised:
        interrupted_twice()
    assert raised.value.code == exit_code
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_IGN] * 3


def test_only_the_first_ctrl_c_raises() -> None:
    def interrupted_twice() -> None:
        with interrupts.handled_once():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_of_signals_that_come_together_one_is_handled() -> None:
    """An error that Python prints about the other one would fail this test."""

    def interrupted_twice() -> None:
        with interrupts.handled_once(), interrupts.blocked():
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.pthread_kill(threading.get_ident(), signum)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()


@each_signal
def test_the_first_signal_calls_the_given_handler(signum: int) -> None:
    with interrupts.handled_once(record):
        signal.raise_signal(signum)
        signal.raise_signal(signum)
    assert received == [signum]


@pytest.mark.usefixtures("_default_actions")
@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)]
)
def test_a_stop_request_records_the_signal_and_ends_the_process_later(signum: int, error: type[BaseException]) -> None:
    stop = StopRequest()
    with stop.installed():
        stop.exit_if_set()
        signal.raise_signal(signum)
        # repeated by its sender
        signal.raise_signal(signal.SIGTERM)
    assert stop.signum == signum
    with pytest.raises(error):
        stop.exit_if_set()


@pytest.mark.usefixtures("_default_actions")
def test_a_second_ctrl_c_does_not_wait_for_a_stop_request() -> None:
    with StopRequest().installed():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@each_signal
def test_a_stop_request_leaves_the_users_handlers(signum: int) -> None:
    stop = StopRequest()
    with stop.installed():
        signal.raise_signal(signum)
    assert received == [signum]
    assert stop.signum is None


# Other processes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot block signals")
@each_signal
def test_processes_started_meanwhile_block_signals(signum: int) -> None:
    code = f"import signal; print({int(signum)} in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with interrupts.blocked():
        signal.raise_signal(signum)
        blocked = subprocess.check_output([sys.executable, "-S", "-c", code], text=True)
        assert received == []
    assert received == [signum]
    assert blocked == "True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot block signals")
def test_a_process_leaves_signals_to_its_parent_which_can_still_end_it() -> None:
    code = (
        "import signal, time; from sb3_a2c_td.faults import interrupts; interrupts.leave_to_parent(); "
        "[signal.raise_signal(getattr(signal, name)) for name in ('SIGINT', 'SIGHUP', 'SIGINT', 'SIGTERM')]; "
        "print('alive', flush=True); signal.raise_signal(signal.SIGTERM); print('too late')"
    )
    with interrupts.blocked():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("alive\n", -signal.SIGTERM), done.stderr
