"""Training of many jobs in parallel. Finished jobs are skipped."""

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
    """Outcome of a job.

    :param job: the job
    :param seconds: wall time of its training; ``None`` if the job failed
    :param error: why the job failed, such as the traceback of an exception; ``None`` if its record was written
    """

    job: Job
    seconds: float | None = None
    error: str | None = None


def unfinished(jobs: Iterable[Job], runs: Path) -> list[Job]:
    """Return the jobs without a record.

    :param jobs: the jobs
    :param runs: folder of the records
    :raises ValueError: if a record is damaged, or its settings or number of steps differ from those of the job
    """
    return [job for job in jobs if not _is_finished(job, runs)]


def is_recorded(job: Job, runs: Path) -> bool:
    """Check whether a job has a record, without reading it.

    :param job: the job
    :param runs: folder of the records
    """
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
            f"{path.parent} to run the arm again, or pass another folder to --runs"
        )
    return True


def run(jobs: Iterable[Job], runs: Path, n_jobs: int) -> Generator[Outcome, None, None]:
    """Train the jobs in worker processes, and write each record when its job ends.

    Every process has its own executor. In a shared one, such as that of ``joblib.Parallel``, a killed process (for
    example when memory runs out) would abort all running jobs without telling which one was killed.

    :param jobs: the jobs
    :param runs: folder of the records
    :param n_jobs: number of processes
    :return: the outcomes in the order in which the jobs end; no job is retried
    """
    waiting = deque(jobs)
    idle: list[ProcessPoolExecutor] = []
    busy: dict[Future[Record | str], tuple[Job, ProcessPoolExecutor]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < n_jobs:
                job = waiting.popleft()
                executor = idle.pop() if idle else _start_process()
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
    """Train a job in a worker process.

    :param job: the job
    :return: its record, or a traceback if it raised an exception
    """
    try:
        return train(job)
    except (Exception, SystemExit):
        return traceback.format_exc()


def outcome(job: Job, result: Callable[[], Record | str], runs: Path) -> Outcome:
    """Write the record of a job that has ended, in the process that submitted it.

    The workers of a cluster may have no access to this machine's files.

    :param job: the job
    :param result: returns the result of :func:`attempt`, or raises an exception if the worker was lost
    :param runs: folder of the records
    :return: the outcome
    """
    try:
        record = result()
        if isinstance(record, str):
            return Outcome(job, error=record)
        save(record, runs)
    except Exception as error:
        return Outcome(job, error="".join(traceback.format_exception_only(error)))
    return Outcome(job, record.seconds)


def _start_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_end_with_parent, initargs=(os.getpid(),))


def _end_with_parent(parent: int) -> None:
    """Ignore Ctrl-C, since the parent then ends its workers, and exit if the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: int) -> None:
    """Wait until the parent process has ended, then exit."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
