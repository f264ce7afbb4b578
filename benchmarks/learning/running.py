"""Many jobs side by side, each on one core; what is finished is never made again."""

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib

from benchmarks.learning.records import load, path_of, save
from benchmarks.learning.suites import Job
from benchmarks.learning.training import train


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    :param job: the job
    :param error: the traceback of what it raised; ``None``: its record is written
    """

    job: Job
    error: str | None = None


def unfinished(jobs: Iterable[Job], runs: Path) -> list[Job]:
    """Give the jobs that have no record yet.

    :param runs: folder of the records
    :raises ValueError: if a record was made with other settings or another number of steps than its job has now
    """
    return [job for job in jobs if not _is_finished(job, runs)]


def _is_finished(job: Job, runs: Path) -> bool:
    path = path_of(runs, job.environment.name, job.arm, job.seed)
    if not path.exists():
        return False
    record = load(path)
    if (record.settings, record.n_steps) != (asdict(job.settings), job.environment.n_steps):
        raise ValueError(
            f"{path} was run with other settings than {job.arm} has now on {job.environment.name}: move the folder "
            f"{path.parent} away to run it again, or give --runs another folder"
        )
    return True


def run(jobs: Iterable[Job], runs: Path, n_jobs: int) -> Iterator[Outcome]:
    """Train the jobs in processes of their own, and write a record of each as it ends.

    A job that raises takes no other down.

    :param runs: folder for the records
    :param n_jobs: how many at once
    :return: how they ended, in the order in which they did
    """
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    yield from parallel(joblib.delayed(_attempt)(job, runs) for job in jobs)


def _attempt(job: Job, runs: Path) -> Outcome:
    try:
        save(train(job), runs)
    except Exception:
        return Outcome(job, traceback.format_exc())
    return Outcome(job)
