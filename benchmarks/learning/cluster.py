"""Training of jobs on the workers of a dask cluster."""

from collections.abc import Generator, Iterable
from pathlib import Path

from distributed import Client, as_completed
from distributed.comm.addressing import get_address_host_port

from benchmarks.learning.running import Outcome, attempt, outcome
from benchmarks.learning.suites import Job

SECONDS_TO_CONNECT = 5


def run(jobs: Iterable[Job], runs: Path, scheduler: str) -> Generator[Outcome, None, None]:
    """Train the jobs on the workers of a cluster, and write each record on this machine when it arrives.

    If a worker is lost, its jobs move to other workers. A job that has taken down more workers than the scheduler
    allows (``distributed.scheduler.allowed-failures``) fails. joblib's backend for dask would wait for such a job
    forever (as of joblib 1.6).

    The workers must run the same commit with the same packages as this process; this is not checked. The ``conditions``
    of each record have the commit and the versions of its worker.

    :param jobs: the jobs
    :param runs: folder of the records on this machine
    :param scheduler: address of the scheduler, such as ``tcp://10.0.0.1:8786``
    :return: the outcomes in the order in which the jobs end
    :raises ValueError: immediately, if no scheduler answers, if it has no workers, or if a worker has several threads,
        whose jobs would share random generators
    """
    return _outcomes(jobs, runs, _connected(scheduler))


def _outcomes(jobs: Iterable[Job], runs: Path, client: Client) -> Generator[Outcome, None, None]:
    with client:
        futures = {client.submit(attempt, job, pure=False): job for job in jobs}
        for future in as_completed(list(futures), loop=client.loop):
            yield outcome(futures.pop(future), future.result, runs)


def _connected(scheduler: str) -> Client:
    try:
        get_address_host_port(scheduler)
        client = Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no dask scheduler answers at {scheduler!r} ({error}): start one with `dask scheduler`, and pass the "
            "address that it prints to --scheduler"
        ) from error
    n_threads = client.nthreads()
    if set(n_threads.values()) != {1}:
        client.close()
        raise ValueError(
            f"the cluster needs workers with one thread each, but has {n_threads or 'none'} (address: threads): start "
            f"workers with `dask worker {scheduler} --nthreads 1 --nworkers N` in a checkout of this repository"
        )
    return client
