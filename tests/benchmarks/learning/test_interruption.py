"""The command ``run`` from start to end, interrupted, and killed."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.learning.records import load_all
from benchmarks.learning.suites import SUITES
from tests.benchmarks.learning.command_line import TIMEOUT, file_contents, run_command, started

pytestmark = pytest.mark.slow


def test_smoke_suite_takes_less_than_three_minutes(tmp_path: Path) -> None:
    start = time.monotonic()
    output = run_command("run", "smoke", "--runs", str(tmp_path))
    assert time.monotonic() - start < 180
    assert output.startswith("6 runs, 0 finished already")
    assert "6 of 6: " in output
    runs = file_contents(tmp_path)
    assert {(record.arm, record.seed) for record in load_all(tmp_path)} == {
        (arm.name, seed) for arm in SUITES["smoke"].arms for seed in (0, 1)
    }
    assert run_command("run", "smoke", "--runs", str(tmp_path)).startswith("6 runs, 6 finished already")
    assert file_contents(tmp_path) == runs


def test_ctrl_c_keeps_finished_runs(tmp_path: Path) -> None:
    arguments = ("run", "smoke", "--seeds", "100", "--runs", str(tmp_path))
    with started(*arguments, records=tmp_path) as (process, workers):
        assert len(workers) >= 2
        # to the whole process group, as a terminal does
        os.killpg(process.pid, signal.SIGINT)
        _, alive = psutil.wait_procs(workers, timeout=TIMEOUT)
        stdout, stderr = process.communicate()
    assert not alive
    assert process.returncode == 130
    # a worker that has just been started may still write its own traceback
    assert stderr.endswith("\nStopped. Finished runs are kept; run the same command again to continue.\n")
    records = list(load_all(tmp_path))
    assert len(records) >= max(1, stdout.count(" of 300: "))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(records)


def test_killed_command_resumes(tmp_path: Path) -> None:
    arguments = ("run", "smoke", "--arms", "random,tda2c", "--seeds", "5", "--runs", str(tmp_path))
    with started(*arguments, records=tmp_path) as (process, workers):
        process.kill()
        process.wait()
        before = file_contents(tmp_path)
        # the workers end, since nobody would read their results
        _, alive = psutil.wait_procs(workers, timeout=TIMEOUT)
    assert not alive
    assert 1 <= len(before) < 10
    assert file_contents(tmp_path) == before
    output = run_command(*arguments)
    assert output.startswith(f"10 runs, {len(before)} finished already")
    after = file_contents(tmp_path)
    assert len(after) == 10
    assert {path: after[path] for path in before} == before
