"""Results of the analysis as plain data: findings on each environment and over all of them, with their uncertainty."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from benchmarks.learning.environments import Environment
from benchmarks.learning.statistics import Estimate
from benchmarks.speed.throughput import Measurement

MIN_IMPROVEMENT = 0.75
"""least probability of improvement of an arm that counts as better"""
SIGNIFICANCE = 0.05
"""limit of the p-values of arms that count as better or worse, after the correction for the number of comparisons"""


class Verdict(StrEnum):
    """Result of a comparison of two arms."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "no difference shown"
    INCOMPLETE = "runs are missing"


@dataclass(frozen=True)
class ArmResult:
    """Metrics of one arm on one environment.

    :param arm: name of the arm
    :param n_runs: number of finished runs
    :param n_planned: number of planned runs
    :param final_score: IQM over the runs of the mean return of the episodes that ended in the last tenth
    :param area: IQM over the runs of the area under the learning curve, in units of return
    :param steps_to_threshold: median over the runs of the steps until solved; infinite if most runs never solved it
    :param n_solved: number of runs that solved the environment
    :param seconds: median wall time of a run
    :param seconds_to_level: median over the runs of the seconds until the environment's level; ``None`` without one
    """

    arm: str
    n_runs: int
    n_planned: int
    final_score: Estimate
    area: Estimate
    steps_to_threshold: float
    n_solved: int
    seconds: float
    seconds_to_level: float | None


@dataclass(frozen=True, eq=False)
class Band:
    """A curve with its 95% interval.

    :param arm: name of the arm
    :param n_runs: number of its runs
    :param at: points at which the curve is evaluated, ``(n_points,)``
    :param value: the curve, ``(n_points,)``
    :param low: lower ends of the intervals, ``(n_points,)``
    :param high: upper ends, ``(n_points,)``
    """

    arm: str
    n_runs: int
    at: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Difference:
    """Difference between the runs of an arm and those of a baseline on one environment, by one metric.

    :param improvement: probability that a run of the arm is better than a run of the baseline; ties count half
    :param iqm: IQM of the arm minus IQM of the baseline
    :param p_value: p-value of the permutation test for "the arms differ"
    :param corrected_p: the same, corrected by Holm's method for the number of comparisons on its page
    """

    improvement: Estimate
    iqm: Estimate
    p_value: float
    corrected_p: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """Verdict: whether the interval excludes zero and the corrected p is small, for better also the improvement."""
        if self.corrected_p >= SIGNIFICANCE:
            return Verdict.OPEN
        if self.iqm.low > 0 and self.improvement.value >= MIN_IMPROVEMENT:
            return Verdict.BETTER
        return Verdict.WORSE if self.iqm.high < 0 else Verdict.OPEN

    @property
    def first_verdict(self) -> Verdict:
        """Verdict by the rule before 29 November 2026: by the improvement and its interval, without a correction."""
        if self.improvement.low > 0.5 and self.improvement.value >= MIN_IMPROVEMENT:
            return Verdict.BETTER
        return Verdict.WORSE if self.improvement.high < 0.5 else Verdict.OPEN


@dataclass(frozen=True)
class Comparison:
    """Comparison of an arm with a baseline on one environment.

    :param environment: name of the environment
    :param arm: name of the arm
    :param baseline: name of the baseline
    :param n_runs: number of runs of the arm
    :param n_baseline_runs: number of runs of the baseline
    :param is_complete: whether these are all planned runs of both
    :param by_metric: the difference by each metric: ``"area"``, which determines the verdict, ``"second half"`` of the
        curve, ``"final score"``, and ``"first area"``, as it was defined at first
    """

    environment: str
    arm: str
    baseline: str
    n_runs: int
    n_baseline_runs: int
    is_complete: bool
    by_metric: dict[str, Difference]

    @property
    def area(self) -> Difference:
        """The difference by the area under the learning curve."""
        return self.by_metric["area"]

    @property
    def verdict(self) -> Verdict:
        """Verdict by the areas; none before all runs are finished."""
        return self.verdict_by("area")

    def verdict_by(self, metric: str) -> Verdict:
        """Verdict of the same rule by another metric."""
        return self.by_metric[metric].verdict if self.is_complete else Verdict.INCOMPLETE


@dataclass(frozen=True)
class Ablation:
    """Effect of one change to the reference settings, or to the general setting, on one environment.

    :param arm: name of the arm with the change
    :param n_runs: number of its runs
    :param n_reference_runs: number of runs without the change
    :param is_complete: whether these are all planned runs of both
    :param difference: IQM of the area under the learning curve, minus that without the change
    """

    arm: str
    n_runs: int
    n_reference_runs: int
    is_complete: bool
    difference: Estimate

    @property
    def has_effect(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return self.difference.low > 0 or self.difference.high < 0

    @property
    def verdict(self) -> Verdict:
        """Verdict by whether the interval contains zero."""
        if not self.is_complete:
            return Verdict.INCOMPLETE
        if self.difference.low > 0:
            return Verdict.BETTER
        return Verdict.WORSE if self.difference.high < 0 else Verdict.OPEN


@dataclass(frozen=True)
class EnvironmentFindings:
    """Findings on one environment.

    :param environment: the environment
    :param level: a return that good runs reach, to compare the seconds until it; ``None``: no such return
    :param results: metrics of each arm with runs
    :param curves: learning curves of each main arm with runs
    :param comparisons: comparisons of the package's arms with the baselines
    :param ablations: effects of single changes to the reference settings
    :param variations: effects of single changes to the general setting
    :param settings: settings of each arm, as in the records
    """

    environment: Environment
    level: float | None
    results: tuple[ArmResult, ...]
    curves: tuple[Band, ...]
    comparisons: tuple[Comparison, ...]
    ablations: tuple[Ablation, ...]
    variations: tuple[Ablation, ...]
    settings: dict[str, dict[str, Any]]

    def comparison(self, arm: str, baseline: str) -> Comparison | None:
        """Return the comparison of an arm with a baseline; ``None`` if one of them has no runs."""
        for comparison in self.comparisons:
            if (comparison.arm, comparison.baseline) == (arm, baseline):
                return comparison
        return None

    def variation(self, arm: str) -> Ablation | None:
        """Return the effect of a change to the general setting; ``None`` without runs."""
        return next((variation for variation in self.variations if variation.arm == arm), None)


@dataclass(frozen=True, eq=False)
class StudyFindings:
    """Budget and result of a study.

    :param arm: the arm that has its settings
    :param environments: names of its environments
    :param n_trials: number of settings that were tried
    :param n_runs: number of runs, with those of the finalists
    :param core_hours: hours of one core; ``None`` if they were not recorded
    :param score: mean score of the chosen settings on new seeds: the area, or for several environments the scaled one
    :param best_of: expected score of the best of k trials, for each k, ``(n_trials,)``
    """

    arm: str
    environments: tuple[str, ...]
    n_trials: int
    n_runs: int
    core_hours: float | None
    score: float
    best_of: np.ndarray


@dataclass(frozen=True)
class OverviewRow:
    """Verdicts and seconds on one environment.

    :param environment: name of the environment
    :param is_held_out: whether the general setting was chosen without it
    :param against_a2c: verdict on the general setting, against A2C's defaults; ``None`` without runs
    :param against_ppo: the same, against PPO's defaults
    :param against_tuned_a2c: verdict on tuned settings, against A2C tuned in the same way
    :param beats_random: whether the interval of the difference between the areas of the general setting and of random
        actions lies above zero; ``None`` without runs
    :param final_scores: verdicts on the general setting by the final score, by baseline
    :param seconds: median seconds until nine tenths of what PPO learned, by arm; empty if that is nothing
    """

    environment: str
    is_held_out: bool
    against_a2c: Verdict | None
    against_ppo: Verdict | None
    against_tuned_a2c: Verdict | None
    beats_random: bool | None
    final_scores: dict[str, Verdict]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Overview:
    """The first page.

    :param rows: one row per environment
    :param held_out: the held-out environments on which all arms with one setting have runs
    :param is_complete: whether these are all held-out environments, with all planned runs
    :param improvement: over these, the mean probability that a run with the general setting is better than one of a
        baseline, by metric (``"area"`` and ``"final score"``) and baseline
    :param speedups: on each of these, by how much a run with the general setting takes less time than one of A2C
    :param over_steps: over these, the normalised learning curve of each arm with one setting
    :param over_seconds: the same over seconds
    :param matched: environments by the verdict on the tuned settings, against A2C with the same settings
    """

    rows: tuple[OverviewRow, ...]
    held_out: tuple[str, ...]
    is_complete: bool
    improvement: dict[str, dict[str, Estimate]]
    speedups: tuple[float, ...]
    over_steps: tuple[Band, ...]
    over_seconds: tuple[Band, ...]
    matched: dict[Verdict, list[str]]

    @property
    def lacks_runs(self) -> bool:
        """Whether some of the runs of a comparison on the page are missing."""
        return any(Verdict.INCOMPLETE in (row.against_a2c, row.against_ppo, row.against_tuned_a2c) for row in self.rows)


@dataclass(frozen=True)
class Check:
    """A goal set in advance, and whether it was reached.

    :param goal: description of the goal
    :param found: description of the result
    :param reached: whether the goal was reached; ``None`` if that is undecided before all runs are finished
    """

    goal: str
    found: str
    reached: bool | None


@dataclass(frozen=True)
class Findings:
    """All contents of a report.

    :param environments: findings on each environment with runs
    :param overview: the first page
    :param checks: the goals
    :param fresh: comparisons on seeds that were run after the verdicts on the others were known
    :param studies: the studies
    :param planned: number of planned runs by environment and arm
    :param n_runs: number of finished runs by environment and arm
    :param excluded: unplanned runs with the reason of their exclusion
    :param hours: wall time of all runs together
    :param conditions: number of runs by condition and its value
    :param throughput: measured steps per second
    :param throughput_conditions: conditions of these measurements
    """

    environments: tuple[EnvironmentFindings, ...]
    overview: Overview
    checks: tuple[Check, ...]
    fresh: tuple[Comparison, ...]
    studies: tuple[StudyFindings, ...]
    planned: dict[tuple[str, str], int]
    n_runs: dict[tuple[str, str], int]
    excluded: tuple[str, ...]
    hours: float
    conditions: dict[str, dict[str, int]]
    throughput: tuple[Measurement, ...]
    throughput_conditions: dict[str, Any]

    @property
    def n_finished(self) -> int:
        """Number of finished runs."""
        return sum(self.n_runs.values())

    @property
    def n_planned(self) -> int:
        """Number of planned runs."""
        return sum(self.planned.values())

    @property
    def missing(self) -> dict[str, dict[tuple[int, int], list[str]]]:
        """Arms with missing runs on each environment, by their numbers of finished and planned runs."""
        groups: dict[str, dict[tuple[int, int], list[str]]] = {}
        for (environment, arm), n_planned in self.planned.items():
            n_runs = self.n_runs.get((environment, arm), 0)
            if n_runs < n_planned:
                groups.setdefault(environment, {}).setdefault((n_runs, n_planned), []).append(arm)
        return groups

    def differing_by(self, metric: str) -> list[Comparison]:
        """Return the comparisons whose verdict by another metric differs from that by the area."""
        return [each for each in self.comparisons if each.verdict_by(metric) != each.verdict]

    @property
    def differing_by_first_rule(self) -> list[Comparison]:
        """The comparisons whose verdict by the rule before 29 November 2026 differs from that on the page."""
        return [each for each in self.comparisons if each.is_complete and each.area.first_verdict != each.verdict]

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons on all environments."""
        return [comparison for each in self.environments for comparison in each.comparisons]


def has_interval(estimate: Estimate) -> bool:
    """Check whether an estimate has an interval."""
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)
