"""Records of made-up runs, and their analysis."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.environments import ENVIRONMENTS, HELD_OUT_ENVIRONMENTS
from benchmarks.learning.records import Record
from benchmarks.learning.report.analysis import analyse
from benchmarks.learning.report.findings import EnvironmentFindings, Findings, StudyFindings
from benchmarks.learning.report.overview import HELD_OUT
from benchmarks.learning.suites import OUT_OF_THE_BOX_ARMS

ROOT = Path(__file__).parents[4]
THROUGHPUT = ROOT / "benchmarks/results/throughput-cpu.json"
N_RUNS = 8
EPISODE_LENGTH = 500


REPORTED = ENVIRONMENTS | {environment.name: environment for environment in HELD_OUT_ENVIRONMENTS}
SECONDS = {"a2c": 60.0, "ppo": 50.0}


def run_of(environment: str, arm: str, seed: int, returns: Sequence[float], length: int = EPISODE_LENGTH) -> Record:
    """Make a record of equally long episodes for all steps of the environment; the last return is repeated."""
    n_steps = REPORTED[environment].n_steps
    n_episodes = n_steps // length
    padded = np.pad(np.array(returns, dtype=float)[:n_episodes], (0, max(0, n_episodes - len(returns))), mode="edge")
    return Record(
        environment,
        arm,
        seed,
        n_steps,
        settings={"algorithm": "some", "arguments": {"gamma": 0.9}},
        episode_ends=length * np.arange(1, n_episodes + 1),
        episode_returns=padded,
        episode_lengths=np.full(n_episodes, length),
        seconds=SECONDS.get(arm, 10.0) + seed,
        conditions={"commit": "c0ffee", "cpu": "abacus", "gpu": None, "versions": {"torch": "2.0"}},
    )


def runs_at(environment: str, arm: str, levels: Sequence[float]) -> list[Record]:
    """Make a run with constant returns for each level."""
    return [run_of(environment, arm, seed, [level]) for seed, level in enumerate(levels)]


def around(level: float, spread: float = 5.0, n_runs: int = N_RUNS) -> np.ndarray:
    """Return levels spread evenly around one level."""
    return level + spread * np.linspace(-1, 1, n_runs)


# the tuned arm is better than all baselines on CartPole, better than one on Acrobot, worse than one on Pendulum, and
# equal to all on LunarLander; on FrozenLake some of its runs are missing
LEVELS = {
    "CartPole-v1": {
        "random": 20.0,
        "tda2c": 200.0,
        "tda2c-tuned": 480.0,
        "a2c": 300.0,
        "a2c-zoo": 320.0,
        "a2c-td0": 250.0,
        "a2c-matched": 300.0,
        "a2c-matched-2-0": 350.0,
        "a2c-matched-2-1": 300.0,
        "a2c-matched-8-0": 300.0,
        "a2c-matched-8-1": 300.0,
        "a2c-matched-32-0": 300.0,
        "a2c-matched-32-1": 350.0,
        "tda2c-tanh": 260.0,
        "tda2c-n-steps-1": 140.0,
        "tda2c-truncation": 200.0,
        "tda2c-general": 400.0,
        "learning_rate-x0.5": 300.0,
        "n_steps-x2": 400.0,
    },
    "Acrobot-v1": {"random": -500.0, "tda2c-tuned": -90.0, "a2c": -200.0, "a2c-zoo": -90.0, "a2c-td0": -90.0},
    "LunarLander-v3": {
        "random": -180.0,
        "tda2c-tuned": 50.0,
        "a2c": 50.0,
        "a2c-zoo": 50.0,
        "a2c-td0": 50.0,
        "a2c-matched": 50.0,
    },
    "Pendulum-v1": {
        "random": -1200.0,
        "tda2c-tuned": -600.0,
        "a2c": -900.0,
        "a2c-zoo": -200.0,
        "a2c-td0": -600.0,
        "a2c-matched": -300.0,
    },
    "FrozenLake-v1": {"random": 0.0, "a2c": 0.5, "a2c-td0": 0.5},
    # held out: better than both, better than A2C, worse than A2C
    "InvertedDoublePendulum-v5": {"random": 50.0, "tda2c-general": 8000.0, "tda2c": 60.0, "a2c": 400.0, "ppo": 4000.0},
    "Reacher-v5": {"random": -40.0, "tda2c-general": -20.0, "tda2c": -39.0, "a2c": -30.0, "ppo": -20.0},
    "Walker2d-v5": {"random": 2.0, "tda2c-general": 100.0, "tda2c": 50.0, "a2c": 200.0, "ppo": 3.0},
}
STUDIES = [
    StudyFindings(arm, ("CartPole-v1",), 3, 12, hours, 450.0, np.array([100.0, 200.0, 300.0]))
    for arm, hours in (("tda2c-tuned", None), ("a2c-tuned", 1.25))
]
PLAN = {(environment, arm): N_RUNS for environment, levels in LEVELS.items() for arm in levels} | {
    ("FrozenLake-v1", "tda2c-tuned"): N_RUNS,
    ("CartPole-v1", "ppo-zoo"): 10,
}


def all_records() -> list[Record]:
    """Make the runs of :data:`LEVELS` and some incomplete arms."""
    records = [
        record
        for environment, levels in LEVELS.items()
        for arm, level in levels.items()
        for record in runs_at(environment, arm, around(level, spread=0.01 * abs(level)))
    ]
    return (
        records
        + runs_at("CartPole-v1", "ppo-zoo", [400.0, 410.0, 420.0])
        + runs_at("FrozenLake-v1", "tda2c-tuned", [0.6, 0.6])
    )


HELD_OUT_PLAN = {(each.name, arm): N_RUNS for each in HELD_OUT_ENVIRONMENTS for arm in OUT_OF_THE_BOX_ARMS}


def held_out_records() -> list[Record]:
    """Make runs on all held-out environments; on the last six as on the first, with other returns."""
    made = [record for record in all_records() if record.environment in HELD_OUT]
    first, *_ = HELD_OUT_ENVIRONMENTS
    on_first = [record for record in made if record.environment == first.name]
    copied = [
        replace(
            record, environment=each.name, episode_returns=each.solved + (record.episode_returns - first.solved) / 100
        )
        for each in HELD_OUT_ENVIRONMENTS[3:]
        for record in on_first
    ]
    return made + copied


FEW_RESAMPLES = {
    name: partial(getattr(statistics, name), n_resamples=n_resamples)
    for name, n_resamples in {
        "iqm_interval": 1_000,
        "iqm_difference": 1_000,
        "probability_of_improvement": 1_000,
        # enough for p-values below 0.05 after their correction
        "permutation_test": 4_000,
        "iqm_curve": 200,
    }.items()
}


def analyse_runs(
    records: Sequence[Record],
    planned: dict[tuple[str, str], int] = PLAN,
    **kwargs: Any,
) -> Findings:
    """Analyse records on the environments of the benchmark, with few resamples."""
    with mock.patch.multiple(statistics, **FEW_RESAMPLES):
        return analyse(records, list(REPORTED.values()), planned, **kwargs)


def findings_on(findings: Findings, environment: str) -> EnvironmentFindings:
    """Return the findings on one environment."""
    return next(each for each in findings.environments if each.environment.name == environment)
