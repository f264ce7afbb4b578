"""Metrics of runs, and their random generators."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.curves import area_under_curve, final_score, second_half_area
from benchmarks.learning.records import Record

BOOTSTRAP_SEED = 0
Metric = Callable[[Record], float]
METRICS: dict[str, Metric] = {
    "area": lambda run: area_under_curve(run.episode_ends, run.episode_returns, run.n_steps),
    "second half": lambda run: second_half_area(run.episode_ends, run.episode_returns, run.n_steps),
    "final score": lambda run: final_score(run.episode_ends, run.episode_returns, run.n_steps),
    "first area": lambda run: float(np.average(run.episode_returns, weights=run.episode_lengths)),
}
"""metrics of a comparison; the last is the area as it was defined before 23 November 2026"""
Runs = dict[str, list[Record]]
"""Runs on one environment by arm, sorted by seed."""


def scores(metric: str, runs: Sequence[Record]) -> np.ndarray:
    """Return a metric of each run, ``(n_runs,)``."""
    return np.array([METRICS[metric](run) for run in runs])


def median_seconds(runs: Sequence[Record]) -> float:
    """Return the median wall time of runs."""
    return float(np.median([run.seconds for run in runs]))


def normalized(returns: np.ndarray, random: Sequence[Record], solved: float) -> np.ndarray:
    """Scale returns: 0 is the area of random actions, 1 the return from which an environment counts as solved.

    :param returns: the returns, of any shape
    :param random: runs of random actions
    :param solved: the return of a solved environment
    """
    floor = statistics.iqm(scores("area", random))
    return (returns - floor) / (solved - floor)


def generator(*key: str) -> np.random.Generator:
    """Return a metric's own random generator, so that runs added elsewhere do not change it."""
    return np.random.default_rng([BOOTSTRAP_SEED, *"/".join(key).encode()])
