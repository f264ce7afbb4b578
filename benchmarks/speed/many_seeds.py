"""Seconds to train many seeds on a compiled environment: one after the other, in threads, and in processes."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C

ENV_ID = "sb3_a2c_td/CartPole-v1"
LOG_INTERVALS = (100, None)
"""rollouts between two logs: by default 100; ``None``: no logs, so that less Python runs between compiled code"""
BASELINE = "one thread"

Train = Callable[[int, int, int | None], object]
"""trains this number of seeds, for this number of steps each, with this ``log_interval``"""


def new_model(seed: int) -> TDA2C:
    """Make a model with the default settings."""
    return TDA2C("MlpPolicy", ENV_ID, seed=seed, device="cpu")


def train_in_one_thread(n_seeds: int, n_steps: int, log_interval: int | None) -> None:
    """Train one seed after the other."""
    for seed in range(n_seeds):
        new_model(seed).learn(n_steps, log_interval=log_interval)


def train_in_threads(n_threads: int, n_seeds: int, n_steps: int, log_interval: int | None) -> None:
    """Make the models, and train them in threads, as ``docs/compiled_environments.md`` describes."""
    models = [new_model(seed) for seed in range(n_seeds)]
    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(lambda model: model.learn(n_steps, log_interval=log_interval), models))


def train_in_processes(n_processes: int, n_seeds: int, n_steps: int, log_interval: int | None) -> None:
    """Train in new processes, which first import the package."""
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as processes:
        list(processes.map(partial(_trained, n_steps, log_interval), range(n_seeds)))


def _trained(n_steps: int, log_interval: int | None, seed: int) -> object:
    return new_model(seed).learn(n_steps, log_interval=log_interval).get_parameters()


@dataclass(frozen=True)
class ManySeeds:
    """Seconds for all seeds."""

    log_interval: int | None
    seconds: dict[str, list[float]]
    """by arm, in each round"""

    def speedup(self, arm: str) -> float:
        """Return how many times as fast as one thread an arm is: the median of the ratios of the rounds."""
        return statistics.median(a / b for a, b in zip(self.seconds[BASELINE], self.seconds[arm], strict=True))


def measure(n_seeds: int, n_steps: int, n_workers: int, rounds: int) -> list[ManySeeds]:
    """Train the same seeds in all arms, in turns.

    :param n_seeds: the number of seeds
    :param n_steps: environment steps of each seed
    :param n_workers: the number of threads, and of processes
    :param rounds: turns of each arm
    :return: the seconds by ``log_interval``
    """
    arms: dict[str, Train] = {
        BASELINE: train_in_one_thread,
        f"{n_workers} threads": partial(train_in_threads, n_workers),
        f"{n_workers} processes": partial(train_in_processes, n_workers),
    }
    # loads the compiled code
    train_in_one_thread(1, 1_000, None)
    measured = []
    for log_interval in LOG_INTERVALS:
        seconds: dict[str, list[float]] = {arm: [] for arm in arms}
        for _ in range(rounds):
            for arm, train in arms.items():
                begin = time.perf_counter()
                train(n_seeds, n_steps, log_interval)
                seconds[arm].append(time.perf_counter() - begin)
        measured.append(ManySeeds(log_interval, seconds))
    return measured


def table(measured: list[ManySeeds]) -> str:
    """Format the times as a Markdown table."""
    rows = [
        [_logs(m.log_interval), arm, f"{statistics.median(seconds):.2f}", f"{m.speedup(arm):.2f}"]
        for m in measured
        for arm, seconds in m.seconds.items()
    ]
    return markdown_table(["logs", "arm", "seconds", f"times as fast as {BASELINE}"], rows)


def _logs(log_interval: int | None) -> str:
    return "none" if log_interval is None else f"every {log_interval} rollouts"


def as_records(measured: list[ManySeeds]) -> list[dict[str, object]]:
    """Convert the times to JSON values."""
    return [{**asdict(m), "speedups": {arm: m.speedup(arm) for arm in m.seconds}} for m in measured]
