"""Ctrl-C is delayed, handled once, blocked or ignored."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from sb3_a2c_td import TDA2C
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.faults.interrupts import Interrupts
from tests.environments import CountingEnv


def record(signum: int, frame: object) -> None:
    received.append(signum)


received: list[int] = []


@pytest.fixture(autouse=True)
def _recorded() -> Iterator[None]:
    """Record each SIGINT instead of raising KeyboardInterrupt."""
    received.clear()
    previous = signal.signal(signal.SIGINT, record)
    yield
    signal.signal(signal.SIGINT, previous)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_delayed_until_the_context_ends() -> None:
    delaying = Interrupts()
    with delaying.installed():
        with delaying:
            ctrl_c()
            assert received == []
        assert received == [signal.SIGINT]
        ctrl_c()
    assert received == [signal.SIGINT] * 2


def test_a_second_ctrl_c_is_not_delayed() -> None:
    delaying = Interrupts()
    with delaying.installed(), delaying:
        ctrl_c()
        ctrl_c()
        assert received == [signal.SIGINT]


def test_ctrl_c_is_delayed_after_a_nested_installation_ends() -> None:
    delaying = Interrupts()
    with delaying.installed():
        with delaying.installed():
            pass
        with delaying:
            ctrl_c()
            assert received == []
        assert received == [signal.SIGINT]


def test_an_update_is_protected_after_a_nested_learn_of_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TDA2C("MlpPolicy", CountingEnv(100), seed=0, device="cpu")
    update = model._engine.update
    received_in_update: list[int] = []

    def interrupted(*args: Any) -> Any:
        ctrl_c()
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
    assert received == [signal.SIGINT]


def test_nested_installations_of_several_models_pass_ctrl_c_on_once() -> None:
    first, second = Interrupts(), Interrupts()
    with first.installed(), second.installed(), first.installed():
        ctrl_c()
    assert received == [signal.SIGINT]


@pytest.mark.parametrize("context", [Interrupts().installed, interrupts.handled_once])
def test_the_previous_handler_is_restored(context: Callable[[], Any]) -> None:
    with context():
        assert signal.getsignal(signal.SIGINT) is not record
    assert signal.getsignal(signal.SIGINT) is record


@pytest.mark.parametrize("context", [Interrupts().installed, interrupts.handled_once])
def test_a_handler_installed_meanwhile_is_kept(context: Callable[[], Any]) -> None:
    def other(signum: int, frame: object) -> None:
        pass

    with context():
        signal.signal(signal.SIGINT, other)
    assert signal.getsignal(signal.SIGINT) is other


def test_ignored_ctrl_c_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    delaying = Interrupts()
    with delaying.installed(), delaying:
        ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert received == []


@pytest.mark.parametrize("context", [Interrupts().installed, interrupts.handled_once])
def test_handlers_are_installed_in_the_main_thread_only(context: Callable[[], Any]) -> None:
    handlers = []

    def look() -> None:
        with context():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [record]


def test_only_the_first_ctrl_c_raises() -> None:
    def interrupted_twice() -> None:
        with interrupts.handled_once():
            try:
                ctrl_c()
            finally:
                ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_first_ctrl_c_calls_the_given_handler() -> None:
    with interrupts.handled_once(record):
        ctrl_c()
        ctrl_c()
    assert received == [signal.SIGINT]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot block signals")
def test_processes_started_meanwhile_block_ctrl_c() -> None:
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with interrupts.blocked():
        ctrl_c()
        blocked = subprocess.check_output([sys.executable, "-S", "-c", code], text=True)
        assert received == []
    assert received == [signal.SIGINT]
    assert blocked == "True\n"
