"""What a report says, as plain data: findings on each environment, over all of them, and how sure they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from benchmarks.learning.environments import Environment
from benchmarks.learning.statistics import Estimate
from benchmarks.speed.throughput import Measurement

SHOWN_FROM = 0.75
"""probability of improvement from which an arm counts as better, if its interval lies above a half too"""


class Verdict(StrEnum):
    """What a comparison shows."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "no difference shown"
    INCOMPLETE = "runs are missing"


class Standing(StrEnum):
    """What an arm's comparisons with all the baselines of an environment show."""

    BETTER = "better than each of them"
    PARTLY = "better than some of them, worse than none"
    WORSE = "worse than at least one of them"
    OPEN = "not shown to be better or worse than any of them"
    UNKNOWN = "not compared with each of them yet"


DECISIVE = {
    Standing.BETTER: Verdict.BETTER,
    Standing.PARTLY: Verdict.BETTER,
    Standing.WORSE: Verdict.WORSE,
    Standing.OPEN: Verdict.OPEN,
    Standing.UNKNOWN: Verdict.INCOMPLETE,
}
"""the verdict that makes each standing what it is"""


@dataclass(frozen=True)
class ArmResult:
    """What one arm reached on one environment.

    :param arm: the arm's name
    :param n_runs: runs that there are
    :param n_planned: runs that there should be
    :param final_score: IQM over the runs of the mean return of the episodes that ended in the last tenth
    :param area: IQM over the runs of the area under the learning curve, in units of return
    :param steps_to_threshold: median over the runs of the steps until solved; infinite where most never got there
    :param n_solved: runs that got there
    :param seconds: median wall time of a run
    """

    arm: str
    n_runs: int
    n_planned: int
    final_score: Estimate
    area: Estimate
    steps_to_threshold: float
    n_solved: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Band:
    """A curve with its interval.

    :param arm: the arm's name
    :param n_runs: runs behind it
    :param at: where it is evaluated, ``(n_points,)``
    :param value: the curve, ``(n_points,)``
    :param low: lower end of the 95% interval, ``(n_points,)``
    :param high: upper end, ``(n_points,)``
    """

    arm: str
    n_runs: int
    at: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One arm beside another on one environment, by the area under the learning curve.

    :param environment: the environment's name
    :param arm: the arm's name
    :param baseline: the other's name
    :param n_runs: runs of the arm
    :param n_baseline_runs: runs of the other
    :param is_complete: whether these are all the planned runs of both
    :param improvement: probability that a run of the arm has a greater area than a run of the other, ties half
    :param final_improvement: the same of the final score
    :param difference: IQM of the arm minus IQM of the other
    :param p_value: of the permutation test for "the arm is better"
    """

    environment: str
    arm: str
    baseline: str
    n_runs: int
    n_baseline_runs: int
    is_complete: bool
    improvement: Estimate
    final_improvement: Estimate
    difference: Estimate
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """What the areas show, by the rule that was set beforehand: nothing before all runs are there."""
        return _verdict(self.improvement) if self.is_complete else Verdict.INCOMPLETE

    @property
    def final_verdict(self) -> Verdict:
        """What the final scores would show by the same rule."""
        return _verdict(self.final_improvement) if self.is_complete else Verdict.INCOMPLETE


@dataclass(frozen=True)
class Ablation:
    """What one change to the seed costs or buys on one environment.

    :param arm: the arm with the change
    :param n_runs: its runs
    :param n_seed_runs: runs of the seed's own arm
    :param is_complete: whether these are all the planned runs of both
    :param difference: IQM of the area under the learning curve, minus that of the seed's own arm
    """

    arm: str
    n_runs: int
    n_seed_runs: int
    is_complete: bool
    difference: Estimate

    @property
    def verdict(self) -> Verdict:
        """What it shows: whether the interval holds zero."""
        if not self.is_complete:
            return Verdict.INCOMPLETE
        if self.difference.low > 0:
            return Verdict.BETTER
        return Verdict.WORSE if self.difference.high < 0 else Verdict.OPEN


@dataclass(frozen=True)
class EnvironmentFindings:
    """What the runs on one environment show.

    :param environment: the environment
    :param results: of each arm that has runs
    :param curves: of each main arm that has runs
    :param comparisons: of the package's arms with the baselines
    :param ablations: of each arm that changes one thing
    :param settings: of each arm, as in the records
    """

    environment: Environment
    results: tuple[ArmResult, ...]
    curves: tuple[Band, ...]
    comparisons: tuple[Comparison, ...]
    ablations: tuple[Ablation, ...]
    settings: dict[str, dict[str, Any]]

    def comparison(self, arm: str, baseline: str) -> Comparison | None:
        """Give the comparison of two arms; ``None`` where one of them has no runs."""
        found = (c for c in self.comparisons if (c.arm, c.baseline) == (arm, baseline))
        return next(found, None)

    @property
    def otherwise_by_final_score(self) -> list[Comparison]:
        """Give the comparisons on which the final scores would have another verdict than the areas have."""
        return [comparison for comparison in self.comparisons if comparison.final_verdict != comparison.verdict]

    def verdicts(self, arm: str, baselines: Sequence[str]) -> dict[str, Verdict]:
        """Give the verdict on an arm beside each of the baselines."""
        found = {baseline: self.comparison(arm, baseline) for baseline in baselines}
        return {name: comparison.verdict if comparison else Verdict.INCOMPLETE for name, comparison in found.items()}

    def standing(self, arm: str, planned: Sequence[str]) -> Standing:
        """Sum up how an arm stands to the baselines that are planned here."""
        verdicts = set(self.verdicts(arm, planned).values())
        if Verdict.WORSE in verdicts:
            return Standing.WORSE
        if Verdict.INCOMPLETE in verdicts or not verdicts:
            return Standing.UNKNOWN
        if Verdict.BETTER not in verdicts:
            return Standing.OPEN
        return Standing.BETTER if verdicts == {Verdict.BETTER} else Standing.PARTLY


@dataclass(frozen=True)
class Aggregate:
    """An arm over several environments, by the normalised area under the learning curve.

    :param arm: the arm's name
    :param n_runs: its runs, of all these environments
    :param area: IQM over all these runs: 0 as random actions, 1 as if solved from the first step
    :param profile: share of the runs above each value
    """

    arm: str
    n_runs: int
    area: Estimate
    profile: Band


@dataclass(frozen=True)
class Check:
    """A goal that was set beforehand, and what was found.

    :param goal: in words
    :param found: in words
    :param reached: whether it was; ``None`` where the runs do not suffice to say
    """

    goal: str
    found: str
    reached: bool | None


@dataclass(frozen=True)
class Findings:
    """All that a report says.

    :param environments: of each environment that has runs
    :param aggregates: of the main arms, over the environments of ``aggregated``
    :param aggregated: names of the environments that the aggregates are over
    :param checks: the goals
    :param planned: runs that there should be, by environment and arm
    :param n_runs: runs that there are, likewise
    :param left_out: runs that are no part of the plan, as ``environment/arm: reason``
    :param hours: wall time of all runs together
    :param conditions: values of each of the records' conditions, with the number of runs that had them
    :param throughput: steps per second
    :param throughput_conditions: what they were measured on
    """

    environments: tuple[EnvironmentFindings, ...]
    aggregates: tuple[Aggregate, ...]
    aggregated: tuple[str, ...]
    checks: tuple[Check, ...]
    planned: dict[tuple[str, str], int]
    n_runs: dict[tuple[str, str], int]
    left_out: tuple[str, ...]
    hours: float
    conditions: dict[str, dict[str, int]]
    throughput: tuple[Measurement, ...]
    throughput_conditions: dict[str, Any]

    @property
    def missing(self) -> dict[str, dict[tuple[int, int], list[str]]]:
        """Group the arms with too few runs on each environment by the runs that there are and should be."""
        groups: dict[str, dict[tuple[int, int], list[str]]] = {}
        for (environment, arm), n_planned in self.planned.items():
            n_runs = self.n_runs.get((environment, arm), 0)
            if n_runs < n_planned:
                groups.setdefault(environment, {}).setdefault((n_runs, n_planned), []).append(arm)
        return groups

    def unplanned(self, arms: Sequence[str]) -> dict[str, list[str]]:
        """Give the environments of the plan where an arm is not planned, for each such arm."""
        names = dict.fromkeys(environment for environment, _ in self.planned)
        lacking = {arm: [name for name in names if (name, arm) not in self.planned] for arm in arms}
        return {arm: environments for arm, environments in lacking.items() if environments}

    def planned_on(self, environment: str, arms: Sequence[str]) -> list[str]:
        """Give those of the arms that are planned on an environment."""
        return [arm for arm in arms if (environment, arm) in self.planned]

    def standings(self, arm: str, baselines: Sequence[str]) -> dict[Standing, dict[str, list[str]]]:
        """Group the environments where an arm is planned by how it stands there to the baselines planned there.

        :return: for each standing its environments, each with the baselines that made it so
        """
        analysed = {found.environment.name: found for found in self.environments}
        groups: dict[Standing, dict[str, list[str]]] = {standing: {} for standing in Standing}
        for name in dict.fromkeys(environment for environment, planned in self.planned if planned == arm):
            planned = self.planned_on(name, baselines)
            if name in analysed:
                verdicts = analysed[name].verdicts(arm, planned)
                standing = analysed[name].standing(arm, planned)
            else:
                verdicts, standing = dict.fromkeys(planned, Verdict.INCOMPLETE), Standing.UNKNOWN
            groups[standing][name] = [b for b, verdict in verdicts.items() if verdict == DECISIVE[standing]]
        return groups


def _verdict(improvement: Estimate) -> Verdict:
    if improvement.value >= SHOWN_FROM and improvement.low > 0.5:
        return Verdict.BETTER
    return Verdict.WORSE if improvement.high < 0.5 else Verdict.OPEN


def is_known(estimate: Estimate) -> bool:
    """Say whether an estimate has an interval."""
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)
