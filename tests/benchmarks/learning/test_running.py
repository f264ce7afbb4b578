import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.learning.records import load, load_all, path_of, save
from benchmarks.learning.running import outcome, run, unfinished
from benchmarks.learning.settings import Settings
from benchmarks.learning.training import train
from tests.benchmarks.learning.faults import GAME, Dying, Exiting, Raising, Slow, job


def test_finished_jobs_are_skipped(tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_jobs_run_in_parallel_processes_that_end_with_the_run(tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_failed_jobs_are_reported_and_the_others_finish(tmp_path: Path) -> None:
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
    # the next run retries the failed jobs
    assert unfinished(jobs, tmp_path) == failing


def test_unwritable_record_is_a_failure_of_its_job(tmp_path: Path) -> None:
    path_of(tmp_path, "CartPole-v1", "random", 0).parent.parent.mkdir()
    path_of(tmp_path, "CartPole-v1", "random", 0).parent.write_text("a file in place of the folder")
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
def test_changed_settings_are_rejected_and_the_record_is_kept(tmp_path: Path, changed: object) -> None:
    path = save(train(job()), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{path} was run with other settings than random has now on"):
        unfinished([changed], tmp_path)  # type: ignore[list-item]
    assert path.read_bytes() == before
