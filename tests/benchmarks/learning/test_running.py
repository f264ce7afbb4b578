import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.__main__ import app
from benchmarks.learning.records import load, load_all, path_of, save
from benchmarks.learning.running import outcome, run, unfinished
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import SUITES
from benchmarks.learning.training import train
from tests.benchmarks.learning.faults import Dying, Exiting, Raising, Slow, job

ROOT = Path(__file__).parents[3]
GAME = {"n_steps": 200, "n_seeds": 1, "solved": 475.0}
N_SECONDS = 120.0
"""to wait for what takes a moment on an idle machine"""


def test_every_job_leaves_its_record_and_is_not_made_again(tmp_path: Path) -> None:
    jobs = [job(seed=seed) for seed in range(5)]
    assert unfinished(jobs, tmp_path) == jobs
    outcomes = list(run(jobs, tmp_path, n_jobs=1))
    assert [ended.job.seed for ended in outcomes] == [0, 1, 2, 3, 4]
    for ended in outcomes:
        assert ended.error is None
        assert ended.seconds == load(path_of(tmp_path, "CartPole-v1", "random", ended.job.seed)).seconds
    assert unfinished(jobs, tmp_path) == []
    further = [*jobs, job(seed=5)]
    assert unfinished(further, tmp_path) == further[5:]


def test_jobs_run_side_by_side_in_processes_that_end_with_the_run(tmp_path: Path) -> None:
    slow = Slow("CartPole-v1", **GAME, starts=tmp_path / "starts")
    slow.starts.mkdir()
    outcomes = run([job(slow, seed) for seed in range(8)], tmp_path, n_jobs=2)
    assert [next(outcomes).error for _ in range(4)] == [None] * 4
    outcomes.close()
    pids = {int(path.read_text()) for path in slow.starts.iterdir()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert len(list(load_all(tmp_path))) == 4


def test_jobs_that_fail_are_reported_and_the_others_finish(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    failing = [
        job(Raising("Raising-v0", **GAME)),
        job(Exiting("Exiting-v0", **GAME)),
        job(Dying("Dying-v0", **GAME, tries=tries)),
    ]
    jobs = failing + [job(seed=seed) for seed in range(3)]
    outcomes = list(run(jobs, tmp_path, n_jobs=2))
    assert len(outcomes) == len(jobs)
    errors = {ended.job.environment.name: ended.error for ended in outcomes if ended.error is not None}
    assert errors.keys() == {"Raising-v0", "Exiting-v0", "Dying-v0"}
    assert "Traceback" in errors["Raising-v0"]
    assert 'raise RuntimeError("the game is not installed")' in errors["Raising-v0"]
    assert "SystemExit: the game is over" in errors["Exiting-v0"]
    assert "TerminatedWorkerError" in errors["Dying-v0"]
    assert "SIGKILL" in errors["Dying-v0"]
    assert len(list(tries.iterdir())) == 1
    assert sorted(record.seed for record in load_all(tmp_path)) == [0, 1, 2]
    # what failed is tried again by the next run
    assert unfinished(jobs, tmp_path) == failing


def test_a_record_that_cannot_be_written_is_a_failure_of_its_job(tmp_path: Path) -> None:
    path_of(tmp_path, "CartPole-v1", "random", 0).parent.parent.mkdir()
    path_of(tmp_path, "CartPole-v1", "random", 0).parent.write_text("in the way")
    failure = outcome(job(), lambda: train(job()), tmp_path)
    assert failure.seconds is None
    assert "FileExistsError" in str(failure.error)


@pytest.mark.parametrize(
    "changed",
    [
        job(replace(job().environment, n_steps=300)),
        job(replace(job().environment, policy="CnnPolicy")),
        job(replace(job().environment, policy_kwargs={"net_arch": []})),
        replace(job(), settings=Settings("random", n_envs=2)),
    ],
)
def test_changed_settings_are_refused_and_the_record_stays(tmp_path: Path, changed: object) -> None:
    path = save(train(job()), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{path} was run with other settings than random has now on"):
        unfinished([changed], tmp_path)  # type: ignore[list-item]
    assert path.read_bytes() == before


# The command line


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


def finished(*arguments: str) -> str:
    """Give what a command wrote that had to end well."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exit_code(*arguments: str) -> object:
    """Run a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        app(arguments)
    return stopped.value.code


def contents_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*/*/*.json.gz")}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + N_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def begun(*arguments: str, records: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Begin a run, and give it with its processes once it has a record."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        wait_until(lambda: contents_of(records) or process.poll() is not None)
        yield process, psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.communicate()


def test_smoke(tmp_path: Path) -> None:
    start = time.monotonic()
    output = finished("run", "smoke", "--runs", str(tmp_path))
    assert time.monotonic() - start < 180
    assert output.startswith("6 runs, 0 finished already")
    assert "6 of 6: " in output
    runs = contents_of(tmp_path)
    assert {(record.arm, record.seed) for record in load_all(tmp_path)} == {
        (arm.name, seed) for arm in SUITES["smoke"].arms for seed in (0, 1)
    }
    assert finished("run", "smoke", "--runs", str(tmp_path)).startswith("6 runs, 6 finished already")
    assert contents_of(tmp_path) == runs


def test_ctrl_c_leaves_what_is_finished(tmp_path: Path) -> None:
    arguments = ("run", "smoke", "--seeds", "100", "--runs", str(tmp_path))
    with begun(*arguments, records=tmp_path) as (process, workers):
        assert len(workers) >= 2
        # as a terminal does, to all of them
        os.killpg(process.pid, signal.SIGINT)
        _, alive = psutil.wait_procs(workers, timeout=N_SECONDS)
        stdout, stderr = process.communicate()
    assert not alive
    assert process.returncode == 130
    # a worker that has just been started may still complain of Ctrl-C by itself
    assert stderr.endswith("\nStopped. What is finished stays: run the same command again to go on.\n")
    records = list(load_all(tmp_path))
    assert len(records) >= max(1, stdout.count(" of 300: "))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(records)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = ("run", "smoke", "--arms", "random,tda2c", "--seeds", "5", "--runs", str(tmp_path))
    with begun(*arguments, records=tmp_path) as (process, workers):
        process.kill()
        process.wait()
        before = contents_of(tmp_path)
        # no one would ever read what they find
        _, alive = psutil.wait_procs(workers, timeout=N_SECONDS)
    assert not alive
    assert 1 <= len(before) < 10
    assert contents_of(tmp_path) == before
    output = finished(*arguments)
    assert output.startswith(f"10 runs, {len(before)} finished already")
    after = contents_of(tmp_path)
    assert len(after) == 10
    assert {path: after[path] for path in before} == before


def test_a_failure_is_told_with_its_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "CartPole-v1").mkdir()
    (tmp_path / "CartPole-v1/random").write_text("in the way")
    assert exit_code("run", "smoke", "--arms", "random", "--seeds", "1", "--runs", str(tmp_path)) == 1
    output = capsys.readouterr().out
    assert "CartPole-v1 random 0 failed\nFileExistsError" in output
    assert "1 runs failed: CartPole-v1 random 0\nRun the same command again" in output


def test_a_damaged_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = path_of(tmp_path, "CartPole-v1", "random", 1)
    path.parent.mkdir(parents=True)
    path.write_text("half a rec")
    assert exit_code("run", "smoke", "--runs", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith(f"Error: {path} is not the record of a run")
    assert path.read_text() == "half a rec"


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(train(job()), tmp_path / SUITES["smoke"].runs)
    assert exit_code("list") == 0
    output = capsys.readouterr().out
    for name in (*SUITES, "tda2c-tanh", "MinAtar/Breakout-v1"):
        assert f"| {name} |" in output
    assert "| suite | what for | records |" in output
    assert "| smoke | does everything run? no evidence of anything | 1 of 6 |" in output
    assert f" 0 of {len(SUITES['main'].jobs())} |" in output
    assert "| CartPole-v1 | 100,000 | 20 | 475 |" in output


def test_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        save(train(job(seed=seed)), tmp_path)
    scores = sorted(float(record.episode_returns[record.episode_ends > 180].mean()) for record in load_all(tmp_path))
    assert exit_code("scores", "smoke", "--runs", str(tmp_path)) == 0
    *_, row = capsys.readouterr().out.splitlines()
    cells = row.strip("| ").split(" | ")
    assert cells[:2] == ["CartPole-v1", "random"]
    assert float(cells[2]) == pytest.approx(scores[1], rel=1e-3)
    assert [float(score) for score in cells[4].split(", ")] == pytest.approx(scores, rel=1e-3)
    areas = [float(area) for area in cells[5].split(", ")]
    assert areas == sorted(areas)
    assert float(cells[3]) == areas[1]
    assert exit_code("scores", "chess") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chess",), "SUITE: 'chess' is not one of smoke, main, ablation, memory, masks"),
        (("smoke", "--arms", "a2c,dqn"), "--arms: 'dqn' is not one of a2c, random, tda2c"),
        (("smoke", "--envs", "Go-v0"), "--envs: 'Go-v0' is not one of CartPole-v1"),
        (("smoke", "--backend", "ray"), "'--backend'"),
        (("smoke", "--backend", "dask"), "--scheduler: --backend dask and --scheduler ADDRESS need each other"),
        (("smoke", "--scheduler", "tcp://h:1"), "--scheduler: --backend dask and --scheduler ADDRESS need each other"),
        (("smoke", "--jobs", "0"), "'--jobs'"),
    ],
)
def test_what_is_not_there_is_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert exit_code("run", *arguments) == 2
    assert message in capsys.readouterr().err
