"""The same jobs on the workers of a dask cluster."""

from collections.abc import Generator, Iterable
from pathlib import Path

from distributed import Client, as_completed
from distributed.comm.addressing import get_address_host_port

from benchmarks.learning.running import Outcome, attempt, outcome
from benchmarks.learning.suites import Job

SECONDS_TO_CONNECT = 5


def run(jobs: Iterable[Job], runs: Path, scheduler: str) -> Generator[Outcome, None, None]:
    """Train the jobs on the workers of a cluster, and write a record of each here as it arrives.

    Jobs of a worker that is lost are given to others; one that has taken down more workers than the scheduler allows
    (``distributed.scheduler.allowed-failures``) fails. joblib's own backend for dask is no help: as of joblib 1.6 it
    waits forever for such a job.

    The workers must run the checkout that this process runs, with the same packages: nothing compares them. The
    ``conditions`` of each record hold the commit and the versions of the worker that made it.

    :param runs: folder for the records, of this machine
    :param scheduler: its address, such as ``tcp://10.0.0.1:8786``
    :return: how they ended, in the order in which they did
    :raises ValueError: at once, if no scheduler answers, it has no workers, or one with several threads, whose jobs
        would share random generators
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
            f"no dask scheduler answers at {scheduler!r} ({error}): start one with `dask scheduler`, and give "
            "--scheduler the address that it prints"
        ) from error
    n_threads = client.nthreads()
    if set(n_threads.values()) != {1}:
        client.close()
        raise ValueError(
            f"the cluster needs workers with one thread each, and has {n_threads or 'none'} (address: threads): start "
            f"them with `dask worker {scheduler} --nthreads 1 --nworkers N` in a checkout of this repository"
        )
    return client
