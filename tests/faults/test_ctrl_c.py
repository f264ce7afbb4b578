"""Ctrl-C at any moment of training leaves a model that can be saved and trained further."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stable_baselines3
import torch as th

import sb3_a2c_td
from sb3_a2c_td import TDA2C
from tests.engines import MLP_ENGINES
from tests.faults.scenarios import (
    WORKER_WARNINGS,
    ActingCallback,
    FaultyEnv,
    assert_training_continues,
    ctrl_c,
    make_model,
    weights_after,
    weights_of,
)

pytestmark = WORKER_WARNINGS


class Recorder(TDA2C):
    """Records s and s' of every rollout that it was updated with, and the weights after each update."""

    def _setup_model(self) -> None:
        super()._setup_model()
        self.batches: list[np.ndarray] = []
        self.history = [weights_of(self)]

    def train(self) -> None:
        rows, n_updates = self.rows(), self._n_updates
        try:
            super().train()
        finally:
            if self._n_updates > n_updates:
                self.batches.append(rows)
                self.history.append(weights_of(self))

    def rows(self) -> np.ndarray:
        held = self.rollout_buffer.transitions()
        return np.concatenate([held.observations, held.next_observations], axis=1)

    def assert_every_row_once(self) -> None:
        rows = np.concatenate([*self.batches, self.rows()])
        assert len({tuple(row) for row in rows}) == len(rows)
        assert (rows[:, 2:] - rows[:, :2] == [0, 1]).all()
        assert len(self.rollout_buffer) == self.rollout_buffer.n_steps


def make_recorder(engine: str) -> Recorder:
    return Recorder("MlpPolicy", FaultyEnv(length=7), engine=engine, seed=0, device="cpu")


PACKAGES = tuple(str(Path(package.__file__).parent) + os.sep for package in (sb3_a2c_td, stable_baselines3))


def run_with_ctrl_c(run: Callable[[], object], at: int | None = None) -> list[Any]:
    """Call a function, with a Ctrl-C at the ``at``-th line or return in these packages; return all of these moments."""
    passed: list[Any] = []

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        if event in ("line", "return"):
            if len(passed) == at:
                sys.settrace(None)
                ctrl_c()
            passed.append((frame.f_code, frame.f_lineno, event))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return passed


@pytest.mark.parametrize("stride", [20, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_ctrl_c_at_any_moment(engine: str, stride: int, tmp_path: Path) -> None:
    """The weights are those after an update, and every transition is learned from once."""
    undisturbed, model = make_recorder(engine).learn(13), make_recorder(engine)
    # every line once, when it runs for the last time
    last = {moment: at for at, moment in enumerate(run_with_ctrl_c(lambda: model.learn(13)))}
    assert len(last) > 300
    # most lines are those of all engines, so each engine has others of them
    for i, at in enumerate(list(last.values())[MLP_ENGINES.index(engine) :: stride]):
        model = make_recorder(engine)
        with pytest.raises(KeyboardInterrupt):
            run_with_ctrl_c(lambda model=model: model.learn(13), at)
        assert th.equal(weights_of(model), undisturbed.history[model._n_updates]), at
        assert len(model.batches) == model._n_updates
        if i % 10 == 0:
            assert_training_continues(model, tmp_path)
        model.learn(10, reset_num_timesteps=False)
        model.assert_every_row_once()


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_in_numbas_c_code_keeps_its_exception(
    exception: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C code calls Python, which reports an exception there as a SystemError."""
    model = make_model(FaultyEnv()).learn(7)

    def interrupted(*_: Any) -> np.ndarray:
        raise SystemError("returned a result with an exception set") from exception

    monkeypatch.setattr(model._engine, "act", interrupted)
    with pytest.raises(type(exception), match="at step 7") as raised:
        model.learn(60, reset_num_timesteps=False)
    assert raised.value.args == exception.args


@pytest.mark.parametrize("n_times", [1, 2])
def test_ctrl_c_is_delayed_until_an_update_ends(n_times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is not delayed."""
    model = make_model(FaultyEnv())
    update = model._engine.update

    def interrupted(*args: Any) -> Any:
        for _ in range(n_times):
            ctrl_c()
        return update(*args)

    monkeypatch.setattr(model._engine, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(60)
    n_updates = 1 if n_times == 1 else 0
    assert (model._n_updates, len(model.rollout_buffer)) == (n_updates, 5 - 5 * n_updates)
    assert th.equal(weights_of(model), weights_after(n_updates, n_envs=1))


def test_sigint_is_passed_on_and_handlers_are_restored() -> None:
    """To any handler, and also from a learn() within a callback of another learn()."""
    seen: list[int] = []

    def handler(signum: int, frame: object) -> None:
        seen.append(signum)

    before = signal.signal(signal.SIGINT, handler)
    try:
        inner = ActingCallback(3, ctrl_c)
        make_model(FaultyEnv()).learn(10, ActingCallback(7, lambda: make_model(FaultyEnv()).learn(10, inner)))
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        make_model(FaultyEnv()).learn(10, ActingCallback(7, ctrl_c))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_a_callback_installs_is_kept() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        ignore = ActingCallback(7, lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        make_model(FaultyEnv()).learn(10, ignore)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread_handles_no_signals() -> None:
    """Python handles signals in the main thread only."""
    model = make_model(FaultyEnv())
    thread = threading.Thread(target=model.learn, args=(60,))
    thread.start()
    thread.join()
    assert th.equal(weights_of(model), weights_after(12, n_envs=1))
