"""Worker processes that end, hang or may still reply: errors name them, and all are shut down."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch as th

from sb3_a2c_td.faults import workers
from tests.faults.scenarios import (
    VEC_ENVS,
    WORKER_WARNINGS,
    ActingCallback,
    Fault,
    FaultyEnv,
    Step,
    assert_ended,
    assert_training_continues,
    boom,
    ctrl_c,
    die,
    make_model,
    make_vec_env,
    processes_of,
    weights_after,
    weights_of,
)

pytestmark = WORKER_WARNINGS


@pytest.mark.parametrize(
    ("kind", "culprit", "fault"),
    [
        *((kind, culprit, fault) for kind in ("async", "fork") for culprit in (0, 2) for fault in (boom, die)),
        pytest.param("forkserver", 2, die, marks=pytest.mark.slow),
    ],
)
def test_an_ended_worker_closes_the_environment(kind: str, culprit: int, fault: Fault, tmp_path: Path) -> None:
    """The last forked worker too, whose pipe the others keep open, so that a read would wait forever."""
    env = make_vec_env(kind, fault, (culprit,))
    processes = processes_of(env)
    model = make_model(env)
    if kind == "async" and fault is boom:
        # AsyncVectorEnv passes exceptions on
        kind_of_error, cause = LookupError, rf"step 21 by environment {culprit} of AsyncVectorEnv"
    else:
        exit_code = "ended with exit code 1" if fault is boom else "killed by SIGKILL"
        kind_of_error, cause = RuntimeError, rf"in step 21: environment {culprit}: worker {exit_code}"
    with pytest.raises(kind_of_error, match=rf"(?s){cause}.* closed.*model.set_env\(...\)"):
        model.learn(60)
    assert_ended(processes)
    env.close()

    assert th.equal(weights_of(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    with pytest.raises(RuntimeError, match=r"is closed.*model.set_env\(...\)"):
        model.learn(3, reset_num_timesteps=False)
    assert_training_continues(model, tmp_path, make_vec_env("dummy", None))


def test_a_worker_that_ended_before_training_is_named(tmp_path: Path) -> None:
    env = make_vec_env("fork", None)
    processes = processes_of(env)
    model = make_model(env).learn(18)
    processes[2].kill()
    processes[2].join()
    with pytest.raises(RuntimeError, match="before training began: environment 2: worker killed by SIGKILL"):
        model.learn(3, reset_num_timesteps=False)
    assert_ended(processes)
    assert_training_continues(model, tmp_path, make_vec_env("dummy", None))


@pytest.mark.parametrize("kind", ["async", "fork"])
def test_ctrl_c_in_a_call_of_a_callback_closes_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply to the call would be taken for the reply to the next step."""
    monkeypatch.setattr(workers, "CLOSE_TIMEOUT", 0.1)

    class Silent(FaultyEnv):
        def answer(self) -> None:
            time.sleep(60)

    class Asked(Silent):
        def answer(self) -> None:
            # by one of them: a second Ctrl-C might interrupt the clean-up
            os.kill(os.getppid(), signal.SIGINT)
            super().answer()

    env = VEC_ENVS[kind]([Asked, Silent])
    processes = processes_of(env)
    model = make_model(env)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)in the callback ActingCallback.*closed.*model.set_env\(...\)"):
        model.learn(60, ActingCallback(4, lambda: env.env_method("answer")))
    assert_ended(processes)


@pytest.mark.parametrize("kind", ["async", "fork"])
@pytest.mark.parametrize("timeout", [0.1, 10.0])
def test_ctrl_c_while_workers_step_closes_the_environment(
    kind: str, timeout: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers that reply in time close their environments; the others are terminated."""
    monkeypatch.setattr(workers, "CLOSE_TIMEOUT", timeout)
    closed = tmp_path / "closed"

    class Slow(FaultyEnv):
        def close(self) -> None:
            closed.touch()

    def interrupt(step: Step) -> None:
        os.kill(os.getppid(), signal.SIGINT)
        # a large reply: the worker cannot end before it is read
        step[4]["ballast"] = np.zeros(10**6)
        time.sleep(0.2 if timeout > 1 else 60)

    env = VEC_ENVS[kind]([lambda: Slow(interrupt)])
    processes = processes_of(env)
    closed.unlink(missing_ok=True)
    model = make_model(env)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)step 7 by .*closed.*model.set_env\(...\)"):
        model.learn(60)
    assert_ended(processes)
    assert closed.exists() == (timeout > 1)
    env.close()
    assert th.equal(weights_of(model), weights_after(1, n_envs=1))
    assert_training_continues(model, tmp_path, make_vec_env("dummy", None, n_envs=1))


def test_ctrl_c_sent_to_workers_too_is_reported_by_the_next_learn(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all processes. Here it comes between two steps."""
    env = make_vec_env("fork", None)
    processes = processes_of(env)

    def ctrl_c_for_all() -> None:
        for process in processes:
            os.kill(process.pid, signal.SIGINT)
        ctrl_c()

    model = make_model(env)
    with pytest.raises(KeyboardInterrupt, match="step 21 in the callback ActingCallback"):
        model.learn(60, ActingCallback(21, ctrl_c_for_all))
    for process in processes:
        process.join()
    assert len(model.rollout_buffer) == 6
    with pytest.raises(RuntimeError, match="before training began: environment 0, 1, 2: worker ended with exit code 0"):
        model.learn(3, reset_num_timesteps=False)
    assert_training_continues(model, tmp_path, make_vec_env("dummy", None))


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ({0: -9}, "environment 0: worker killed by SIGKILL (as systems do when memory runs out)"),
        ({1: -15, 2: -15}, "environment 1, 2: worker killed by SIGTERM"),
        ({0: -40}, "environment 0: worker killed by signal 40"),
        ({3: 1}, "environment 3: worker ended with exit code 1 (see the exception that it printed above)"),
        ({0: 0, 1: -15}, "environment 0: worker ended with exit code 0; environment 1: worker killed by SIGTERM"),
    ],
)
def test_exit_codes_are_described(codes: dict[int, int], text: str) -> None:
    assert workers.describe_exit_codes(codes) == text
