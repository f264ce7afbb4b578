"""The report's first page: verdicts and seconds on each environment, and curves over the held-out ones together."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.curves import curve_grid, curve_window, learning_curve
from benchmarks.learning.environments import HELD_OUT_ENVIRONMENTS, Environment
from benchmarks.learning.records import Record
from benchmarks.learning.report.findings import (
    MIN_IMPROVEMENT,
    Band,
    Check,
    EnvironmentFindings,
    Overview,
    OverviewRow,
    Verdict,
)
from benchmarks.learning.report.metrics import Runs, generator, normalized, scores
from benchmarks.learning.statistics import Estimate

GENERAL, REFERENCE, A2C, PPO = OUT_OF_THE_BOX = ("tda2c-general", "tda2c", "a2c", "ppo")
"""arms with one setting for all environments"""
TIMED = (GENERAL, A2C, PPO)
"""arms whose seconds are shown"""
TUNED, TUNED_A2C, MATCHED_A2C = "tda2c-tuned", "a2c-tuned", "a2c-matched"
RANDOM = "random"
FIRST_PAGE = ((GENERAL, A2C), (GENERAL, PPO), (TUNED, TUNED_A2C), (TUNED, MATCHED_A2C))
"""comparisons on the first page"""
HELD_OUT = tuple(environment.name for environment in HELD_OUT_ENVIRONMENTS)
MIN_LEARNED = 0.05
"""least normalised final score of PPO that counts as learned"""
SHARE_OF_PPO = 0.9
"""part of the way from random actions to PPO's final score to which seconds are counted"""
N_SECONDS = 100
"""number of points of a curve over seconds"""


def overview(
    environments: Mapping[str, Environment], findings: Sequence[EnvironmentFindings], runs: Mapping[str, Runs]
) -> Overview:
    """Summarise the findings.

    :param environments: environments by name
    :param findings: findings on each environment
    :param runs: runs by environment and arm
    """
    rows = tuple(_row(each, runs[each.environment.name]) for each in findings)
    needed = (*OUT_OF_THE_BOX, RANDOM)
    complete = [name for name in HELD_OUT if all(len(runs.get(name, {}).get(arm, ())) > 1 for arm in needed)]
    aggregated = {name: environments[name] for name in complete}
    areas = {arm: [scores("area", runs[name][arm]) for name in complete] for arm in OUT_OF_THE_BOX}
    return Overview(
        rows=rows,
        held_out=tuple(complete),
        matched=_by_verdict(findings, TUNED, MATCHED_A2C),
        improvement={
            baseline: statistics.probability_of_improvement(
                areas[GENERAL], areas[baseline], generator("held-out", baseline)
            )
            for baseline in (A2C, PPO)
            if complete
        },
        over_steps=tuple(_curve(arm, aggregated, runs) for arm in OUT_OF_THE_BOX if complete),
        over_seconds=tuple(_curve_over_seconds(arm, aggregated, runs) for arm in OUT_OF_THE_BOX if complete),
    )


def held_out_checks(found: Overview) -> list[Check]:
    """Check the goals that were set for the held-out environments before the general setting ran on them."""
    rows = [row for row in found.rows if row.environment in found.held_out]
    worse = [row.environment for row in rows if row.against_a2c == Verdict.WORSE]
    timed = [row for row in rows if row.seconds]
    faster = [row.environment for row in timed if row.seconds[GENERAL] < min(row.seconds[A2C], row.seconds[PPO])]
    known = bool(rows)
    return [
        Check(
            f"`{GENERAL}` is better than `{A2C}` on the held-out environments together",
            *_improvement(found, A2C, lambda estimate: estimate.value >= MIN_IMPROVEMENT and estimate.low > 0.5),
        ),
        Check(
            f"`{GENERAL}` is worse than `{A2C}` on none of them",
            f"worse on {', '.join(worse)}" if worse else f"worse on none of {len(rows)}" if known else "no runs",
            not worse if known else None,
        ),
        Check(
            f"`{GENERAL}` is not worse than `{PPO}` on them together",
            *_improvement(found, PPO, lambda estimate: estimate.high >= 0.5),
        ),
        Check(
            f"`{GENERAL}` needs fewer seconds than `{A2C}` and `{PPO}` to what PPO learned, on most of them",
            f"on {len(faster)} of the {len(timed)} on which PPO learned" if known else "no runs",
            2 * len(faster) > len(timed) if known else None,
        ),
    ]


def _improvement(found: Overview, baseline: str, is_reached: Callable[[Estimate], bool]) -> tuple[str, bool | None]:
    """Describe the probability of improvement over a baseline, and check whether it reaches a goal."""
    if not found.held_out:
        return "no runs", None
    estimate = found.improvement[baseline]
    text = f"probability of improvement {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    return text, is_reached(estimate)


def seconds_to(level: float, runs: Sequence[Record]) -> float:
    """Return the median over runs of the seconds until the learning curve reaches a level; infinite for most: never.

    A run's steps are taken to be equally fast.
    """
    return float(np.median([_seconds_to(level, run) for run in runs]))


def _row(findings: EnvironmentFindings, runs: Runs) -> OverviewRow:
    comparisons = [findings.comparison(*pair) for pair in FIRST_PAGE[:3]]
    verdicts = [None if comparison is None else comparison.verdict for comparison in comparisons]
    return OverviewRow(
        environment=findings.environment.name,
        is_held_out=findings.environment.name in HELD_OUT,
        against_a2c=verdicts[0],
        against_ppo=verdicts[1],
        against_tuned_a2c=verdicts[2],
        seconds=_seconds(findings.environment, runs),
    )


def _by_verdict(findings: Sequence[EnvironmentFindings], arm: str, baseline: str) -> dict[Verdict, list[str]]:
    """Group environments by the verdict on an arm against a baseline."""
    names: dict[Verdict, list[str]] = {}
    for each in findings:
        comparison = each.comparison(arm, baseline)
        if comparison is not None:
            names.setdefault(comparison.verdict, []).append(each.environment.name)
    return names


def _seconds(environment: Environment, runs: Runs) -> dict[str, float]:
    """Return the seconds to most of PPO's final score by arm; nothing if PPO learned nothing."""
    if not all(runs.get(arm) for arm in (PPO, RANDOM)):
        return {}
    final_scores = scores("final score", runs[PPO])
    if statistics.iqm(normalized(final_scores, runs[RANDOM], environment.solved)) < MIN_LEARNED:
        return {}
    floor = statistics.iqm(scores("area", runs[RANDOM]))
    level = floor + SHARE_OF_PPO * (statistics.iqm(final_scores) - floor)
    return {arm: seconds_to(level, runs[arm]) for arm in TIMED if runs.get(arm)}


def _seconds_to(level: float, run: Record) -> float:
    grid = curve_grid(run.n_steps)
    reached = learning_curve(run.episode_ends, run.episode_returns, grid, curve_window(run.n_steps)) >= level
    return run.seconds * float(grid[np.argmax(reached)]) / run.n_steps if reached.any() else np.inf


def _curve(arm: str, environments: Mapping[str, Environment], runs: Mapping[str, Runs]) -> Band:
    """Average the normalised learning curves of an arm, by the share of the steps."""
    curves = [_normalized_curves(arm, environment, runs[name]) for name, environment in environments.items()]
    band = statistics.iqm_curve(curves, generator("held-out", arm, "curve"))
    n_steps = next(iter(environments.values())).n_steps
    return Band(arm, sum(map(len, curves)), curve_grid(n_steps), band.value, band.low, band.high)


def _curve_over_seconds(arm: str, environments: Mapping[str, Environment], runs: Mapping[str, Runs]) -> Band:
    """Average the same curves by seconds; a run that has ended keeps its last value."""
    longest = max(run.seconds for name in environments for each in OUT_OF_THE_BOX for run in runs[name][each])
    at = np.geomspace(1.0, longest, N_SECONDS)
    curves = []
    for name, environment in environments.items():
        by_steps = _normalized_curves(arm, environment, runs[name])
        ends = [run.seconds * np.linspace(0, 1, by_steps.shape[1] + 1)[1:] for run in runs[name][arm]]
        curves.append(np.array([np.interp(at, x, y) for x, y in zip(ends, by_steps, strict=True)]))
    band = statistics.iqm_curve(curves, generator("held-out", arm, "seconds"))
    return Band(arm, sum(map(len, curves)), at, band.value, band.low, band.high)


def _normalized_curves(arm: str, environment: Environment, runs: Runs) -> np.ndarray:
    """Return the normalised learning curves of an arm, ``(n_runs, n_points)``; at first, the first episode's return."""
    grid, window = curve_grid(environment.n_steps), curve_window(environment.n_steps)
    curves = []
    for run in runs[arm]:
        curve = learning_curve(run.episode_ends, run.episode_returns, grid, window)
        curves.append(np.where(np.isnan(curve), run.episode_returns[0], curve))
    return normalized(np.array(curves), runs[RANDOM], environment.solved)
