import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from benchmarks.learning import cluster
from benchmarks.learning.records import load_all
from benchmarks.learning.running import unfinished
from benchmarks.learning.suites import SUITES
from benchmarks.learning.training import train
from tests.benchmarks.learning.command_line import run_command
from tests.benchmarks.learning.faults import GAME, Dying, Raising, Slow, job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalCluster]:
    """Start a scheduler with two worker processes."""
    quiet = {"distributed.logging.distributed": "critical", "distributed.scheduler.allowed-failures": 1}
    with (
        dask.config.set(quiet),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as workers,
    ):
        yield workers


def test_jobs_of_a_killed_worker_are_repeated(workers: LocalCluster, tmp_path: Path) -> None:
    slow = Slow("CartPole-v1", **GAME, starts=tmp_path / "starts")
    slow.starts.mkdir()
    runs = tmp_path / "runs"
    jobs = [job(slow, seed) for seed in range(6)]
    outcomes = cluster.run(jobs, runs, workers.scheduler_address)
    ended = [next(outcomes)]
    victim = psutil.Process(int(max(slow.starts.iterdir()).read_text()))
    victim.send_signal(signal.SIGKILL)
    ended += outcomes
    assert not victim.is_running()
    assert [outcome.error for outcome in ended] == [None] * 6
    assert sorted(outcome.job.seed for outcome in ended) == [0, 1, 2, 3, 4, 5]
    assert [record.seed for record in load_all(runs)] == [0, 1, 2, 3, 4, 5]
    assert unfinished(jobs, runs) == []
    # another worker has repeated the victim's job
    starts = [int(path.read_text()) for path in slow.starts.iterdir()]
    assert len(starts) > 6
    assert os.getpid() not in starts


def test_failed_jobs_are_reported_and_the_others_finish(workers: LocalCluster, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    (killed,) = cluster.run([job(Dying("Dying-v0", **GAME, tries=tries))], tmp_path, workers.scheduler_address)
    assert "KilledWorker" in str(killed.error)
    # one more than the allowed failures
    assert len(list(tries.iterdir())) == 2
    workers.wait_for_workers(2)
    jobs = [job(Raising("Raising-v0", **GAME)), job(seed=1), job(seed=2)]
    outcomes = list(cluster.run(jobs, tmp_path, workers.scheduler_address))
    (failure,) = (outcome for outcome in outcomes if outcome.error is not None)
    assert 'raise RuntimeError("the game is not installed")' in str(failure.error)
    assert sorted(record.seed for record in load_all(tmp_path)) == [1, 2]


def test_cluster_gives_the_same_results_as_this_machine(workers: LocalCluster, tmp_path: Path) -> None:
    workers.wait_for_workers(2)
    arguments = ("run", "smoke", "--arms", "random", "--seeds", "3", "--runs", str(tmp_path / "there"))
    output = run_command(*arguments, "--backend", "dask", "--scheduler", workers.scheduler_address)
    assert output.startswith("3 runs, 0 finished already")
    for there in load_all(tmp_path / "there"):
        (here,) = (train(each) for each in SUITES["smoke"].jobs(3) if (each.arm, each.seed) == (there.arm, there.seed))
        assert there.n_steps == here.n_steps
        assert there.episode_ends.tolist() == here.episode_ends.tolist()
        assert there.episode_returns.tolist() == here.episode_returns.tolist()
    assert len(list(load_all(tmp_path / "there"))) == 3


def test_missing_scheduler_is_reported_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(
        ValueError, match=f"no dask scheduler answers at '{address}' .*: start one with `dask scheduler`"
    ):
        cluster.run([job()], tmp_path, address)
    assert time.monotonic() - start < 4 * cluster.SECONDS_TO_CONNECT


@pytest.mark.parametrize("address", ["somewhere", "pigeon://127.0.0.1:8786"])
def test_invalid_address_is_rejected(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no dask scheduler answers at '{address}'"):
        cluster.run([job()], tmp_path, address)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_workers_with_several_threads_are_rejected(n_workers: int, tmp_path: Path) -> None:
    """Jobs in threads of one process would share random generators."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=":0"
        ) as threads,
        pytest.raises(ValueError, match="needs workers with one thread each, but has .* --nthreads 1"),
    ):
        cluster.run([job()], tmp_path, threads.scheduler_address)
