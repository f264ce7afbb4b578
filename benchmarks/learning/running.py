"""Many jobs side by side; what is finished is never made again."""

import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path

from joblib.externals.loky import ProcessPoolExecutor

from benchmarks.learning.records import Record, load, path_of, save
from benchmarks.learning.suites import Job
from benchmarks.learning.training import train


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    :param job: the job
    :param seconds: wall time of its training; ``None``: it failed
    :param error: why it failed, the traceback of what it raised for one; ``None``: its record is written
    """

    job: Job
    seconds: float | None = None
    error: str | None = None


def unfinished(jobs: Iterable[Job], runs: Path) -> list[Job]:
    """Give the jobs that have no record yet.

    :param runs: folder of the records
    :raises ValueError: if a record cannot be read, or was made with other settings or another number of steps than
        its job has now
    """
    return [job for job in jobs if not _is_finished(job, runs)]


def is_recorded(job: Job, runs: Path) -> bool:
    """Tell whether a job has a record, whatever is in it."""
    return path_of(runs, job.environment.name, job.arm, job.seed).exists()


def _is_finished(job: Job, runs: Path) -> bool:
    if not is_recorded(job, runs):
        return False
    path = path_of(runs, job.environment.name, job.arm, job.seed)
    record = load(path)
    environment = job.environment
    recorded = record.settings, record.n_steps, record.policy, record.policy_kwargs
    if recorded != (asdict(job.settings), environment.n_steps, environment.policy, environment.policy_kwargs):
        raise ValueError(
            f"{path} was run with other settings than {job.arm} has now on {environment.name}: move the folder "
            f"{path.parent} away to run it again, or give --runs another folder"
        )
    return True


def run(jobs: Iterable[Job], runs: Path, n_jobs: int) -> Generator[Outcome, None, None]:
    """Train the jobs in processes of joblib's, and write a record of each as it ends.

    Each process belongs to an executor of its own. In ``joblib.Parallel``, where all are of one, a job whose process
    is killed, say for want of memory, takes down all that are running, and which one it was cannot be told.

    :param runs: folder for the records
    :param n_jobs: how many at once
    :return: how they ended, in the order in which they did; no job is tried twice
    """
    left = deque(jobs)
    idle: list[ProcessPoolExecutor] = []
    busy: dict[Future[Record | str], tuple[Job, ProcessPoolExecutor]] = {}
    try:
        while left or busy:
            while left and len(busy) < n_jobs:
                job, executor = left.popleft(), idle.pop() if idle else _own_process()
                busy[executor.submit(attempt, job)] = job, executor
            ended, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in ended:
                job, executor = busy.pop(future)
                if future.exception() is None:
                    idle.append(executor)
                else:
                    executor.shutdown(kill_workers=True)
                yield outcome(job, future.result, runs)
    finally:
        for executor in [*idle, *(executor for _, executor in busy.values())]:
            executor.shutdown(kill_workers=True)


def attempt(job: Job) -> Record | str:
    """Train a job, in the process of a worker.

    :return: its record, or the traceback of what it raised
    """
    try:
        return train(job)
    except (Exception, SystemExit):
        return traceback.format_exc()


def outcome(job: Job, result: Callable[[], Record | str], runs: Path) -> Outcome:
    """Write the record of a job that has ended, in the process that gave it to a worker.

    So it is the same on a machine and on a cluster, whose workers may not see this one's files.

    :param result: gives what :func:`attempt` returned, or raises what became of the worker
    :param runs: folder for the records
    """
    try:
        record = result()
        if isinstance(record, str):
            return Outcome(job, error=record)
        save(record, runs)
    except Exception as error:
        return Outcome(job, error="".join(traceback.format_exception_only(error)))
    return Outcome(job, record.seconds)


def _own_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_end_only_with, initargs=(os.getpid(),))


def _end_only_with(parent: int) -> None:
    """Leave Ctrl-C to the parent, which ends its workers, and end too where it was killed and could not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
