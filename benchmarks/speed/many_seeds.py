"""Seconds to train many seeds on a compiled environment in several threads, compared with one thread."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C

ENV_ID = "sb3_a2c_td/CartPole-v1"
LOG_INTERVALS = (100, None)
"""rollouts between two logs: by default 100; ``None``: no logs, so that less Python runs between compiled code"""


@dataclass(frozen=True)
class ManySeeds:
    """Seconds for all seeds, in each round."""

    n_seeds: int
    n_steps: int
    n_threads: int
    log_interval: int | None
    seconds_in_one_thread: list[float]
    seconds_in_threads: list[float]

    @property
    def speedup(self) -> float:
        """How many times as fast the threads are: the median of the ratios of the rounds."""
        rounds = zip(self.seconds_in_one_thread, self.seconds_in_threads, strict=True)
        return statistics.median(one / many for one, many in rounds)


def measure(n_seeds: int, n_steps: int, n_threads: int, rounds: int) -> list[ManySeeds]:
    """Train the same seeds in one thread and in several, in turns.

    :param n_seeds: the number of seeds
    :param n_steps: environment steps of each seed
    :param n_threads: threads to compare with one
    :param rounds: turns of each
    :return: the seconds by ``log_interval``
    """
    measured = []
    for log_interval in LOG_INTERVALS:
        # loads the compiled code
        seconds_to_train(1, 1_000, 1, log_interval)
        seconds: dict[int, list[float]] = {1: [], n_threads: []}
        for _ in range(rounds):
            for number, values in seconds.items():
                values.append(seconds_to_train(n_seeds, n_steps, number, log_interval))
        measured.append(ManySeeds(n_seeds, n_steps, n_threads, log_interval, seconds[1], seconds[n_threads]))
    return measured


def seconds_to_train(n_seeds: int, n_steps: int, n_threads: int, log_interval: int | None) -> float:
    """Make the models, and train them in threads, as ``docs/compiled_environments.md`` describes.

    :param n_seeds: the number of seeds
    :param n_steps: environment steps of each seed
    :param n_threads: the number of threads
    :param log_interval: rollouts between two logs
    """
    begin = time.perf_counter()
    models = [TDA2C("MlpPolicy", ENV_ID, seed=seed, device="cpu") for seed in range(n_seeds)]
    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(lambda model: model.learn(n_steps, log_interval=log_interval), models))
    return time.perf_counter() - begin


def table(measured: list[ManySeeds]) -> str:
    """Format the times as a Markdown table."""
    rows = [
        [
            "none" if m.log_interval is None else f"every {m.log_interval} rollouts",
            f"{statistics.median(m.seconds_in_one_thread):.2f}",
            f"{statistics.median(m.seconds_in_threads):.2f}",
            f"{m.speedup:.2f}",
        ]
        for m in measured
    ]
    n_threads = measured[0].n_threads
    return markdown_table(["logs", "seconds in one thread", f"in {n_threads} threads", "times as fast"], rows)


def as_records(measured: list[ManySeeds]) -> list[dict[str, object]]:
    """Convert the times to JSON values."""
    return [{**asdict(m), "speedup": m.speedup} for m in measured]
