"""The report's first page: verdicts and seconds on each environment, and curves over the held-out ones together."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.arms import MATCHED_N_STEPS, matched_name
from benchmarks.learning.curves import curve_grid, curve_window, learning_curve
from benchmarks.learning.environments import HELD_OUT_ENVIRONMENTS, Environment
from benchmarks.learning.records import Record
from benchmarks.learning.report.findings import (
    MIN_IMPROVEMENT,
    Band,
    Check,
    EnvironmentFindings,
    Findings,
    Overview,
    OverviewRow,
    Verdict,
)
from benchmarks.learning.report.metrics import Runs, generator, median_seconds, normalized, scores
from benchmarks.learning.statistics import Estimate
from benchmarks.learning.suites import OUT_OF_THE_BOX_ARMS

RANDOM, *OUT_OF_THE_BOX = OUT_OF_THE_BOX_ARMS
"""random actions, and arms with one setting for all environments"""
GENERAL, REFERENCE, A2C, PPO = OUT_OF_THE_BOX
TIMED = (GENERAL, A2C, PPO)
"""arms whose seconds are shown"""
TUNED, TUNED_A2C, MATCHED_A2C = "tda2c-tuned", "a2c-tuned", "a2c-matched"
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
    environments: Mapping[str, Environment],
    findings: Sequence[EnvironmentFindings],
    runs: Mapping[str, Runs],
    planned: Mapping[tuple[str, str], int],
) -> Overview:
    """Summarise the findings.

    :param environments: environments by name
    :param findings: findings on each environment
    :param runs: runs by environment and arm
    :param planned: number of planned runs by environment and arm
    """
    with_runs = [
        name for name in HELD_OUT if all(len(runs.get(name, {}).get(arm, ())) > 1 for arm in OUT_OF_THE_BOX_ARMS)
    ]
    is_complete = all(
        (name, arm) in planned and len(runs.get(name, {}).get(arm, ())) == planned[name, arm]
        for name in HELD_OUT
        for arm in OUT_OF_THE_BOX_ARMS
    )
    aggregated = {name: environments[name] for name in with_runs}
    return Overview(
        rows=tuple(_row(each, runs[each.environment.name]) for each in findings if each.results),
        held_out=tuple(with_runs),
        is_complete=is_complete,
        improvement={
            metric: {
                baseline: _improvement_over(baseline, metric, [runs[name] for name in with_runs])
                for baseline in (A2C, PPO)
                if with_runs
            }
            for metric in ("area", "final score")
        },
        speedups=tuple(median_seconds(runs[name][A2C]) / median_seconds(runs[name][GENERAL]) for name in with_runs),
        over_steps=tuple(_curve(arm, aggregated, runs) for arm in OUT_OF_THE_BOX if with_runs),
        over_seconds=tuple(_curve_over_seconds(arm, aggregated, runs) for arm in OUT_OF_THE_BOX if with_runs),
        matched=_by_verdict(findings, TUNED, MATCHED_A2C),
    )


def _improvement_over(baseline: str, metric: str, runs: Sequence[Runs]) -> Estimate:
    ours, theirs = ([scores(metric, each[arm]) for each in runs] for arm in (GENERAL, baseline))
    return statistics.probability_of_improvement(ours, theirs, generator("held-out", baseline, metric))


def held_out_checks(found: Overview) -> list[Check]:
    """Check the goals that were set for the held-out environments before the general setting ran on them."""
    areas = found.improvement["area"]
    rows = [row for row in found.rows if row.environment in found.held_out]
    worse = [row.environment for row in rows if row.against_a2c == Verdict.WORSE]
    timed = [row for row in rows if row.seconds]

    def decided(is_reached: Callable[[], bool]) -> bool | None:
        return is_reached() if found.is_complete else None

    return [
        Check(
            "on the held-out environments together, a run of TDA2C with the general setting is better than one of A2C "
            f"with a probability of at least {MIN_IMPROVEMENT}, whose interval lies above a half",
            _improvement(found, A2C),
            decided(lambda: areas[A2C].value >= MIN_IMPROVEMENT and areas[A2C].low > 0.5),
        ),
        Check(
            "TDA2C with the general setting is worse than A2C on none of them",
            f"worse on {', '.join(worse)}" if worse else f"worse on none of {len(rows)}",
            False if worse else decided(lambda: True),
        ),
        Check(
            "on them together, the interval of the probability that a run of TDA2C with the general setting is better "
            "than one of PPO does not lie below a half",
            _improvement(found, PPO),
            decided(lambda: areas[PPO].high >= 0.5),
        ),
        Check(
            "TDA2C with the general setting needs fewer seconds than A2C and PPO to nine tenths of what PPO learned, "
            "on most of those on which PPO learned",
            f"on {n_faster(timed)} of {len(timed)}",
            decided(lambda: 2 * n_faster(timed) > len(timed)) if timed else None,
        ),
    ]


def tallies(found: Overview) -> dict[str, Counter[Verdict]]:
    """Count the verdicts of the first page by what TDA2C is compared with; comparisons without verdicts are left out.

    :param found: the first page
    """
    held_out = [row for row in found.rows if row.is_held_out]
    others = [row for row in found.rows if not row.is_held_out]
    verdicts: dict[str, Sequence[Verdict | None]] = {
        "A2C out of the box: area under the learning curve": [row.against_a2c for row in held_out],
        "A2C out of the box: final score": [row.final_scores.get(A2C) for row in held_out],
        "PPO out of the box: area under the learning curve": [row.against_ppo for row in held_out],
        "PPO out of the box: final score": [row.final_scores.get(PPO) for row in held_out],
        "A2C out of the box, on the environments of the study: area": [row.against_a2c for row in others],
        "A2C, both tuned for the environment: area": [row.against_tuned_a2c for row in others],
    }
    counts = {
        compared: Counter[Verdict](verdict for verdict in each if verdict not in (None, Verdict.INCOMPLETE))
        for compared, each in verdicts.items()
    }
    return {compared: count for compared, count in counts.items() if count}


def one_step_targets(findings: Findings) -> dict[str, list[str]]:
    """Compare one-step targets (λ = 0) with the longest ones (λ = 1) in A2C with TDA2C's tuned settings.

    :param findings: the results
    :return: environments with lengths of a rollout: where the interval of the area with λ = 0 lies above that with
        λ = 1 (``"larger"``), where below it (``"smaller"``), and where they overlap (``"not clearly different"``)
    """
    outcomes: dict[str, list[str]] = {"larger": [], "smaller": [], "not clearly different": []}
    for each in findings.environments:
        areas = {result.arm: result.area for result in each.results}
        for n in MATCHED_N_STEPS:
            one_step, longest = (areas.get(matched_name(n, gae_lambda)) for gae_lambda in (0.0, 1.0))
            if one_step is None or longest is None:
                continue
            if one_step.low > longest.high:
                outcome = "larger"
            else:
                outcome = "smaller" if one_step.high < longest.low else "not clearly different"
            outcomes[outcome].append(f"{each.environment.name} with n = {n}")
    return {outcome: where for outcome, where in outcomes.items() if where}


def n_faster(rows: Sequence[OverviewRow], factor: float = 1.0) -> int:
    """Count the environments on which the general setting needs fewer seconds than A2C and PPO.

    :param rows: rows of the first page
    :param factor: by which factor
    """
    return sum(factor * row.seconds[GENERAL] < min(row.seconds[A2C], row.seconds[PPO]) for row in rows if row.seconds)


def _improvement(found: Overview, baseline: str) -> str:
    """Describe the probability of improvement over a baseline."""
    if not found.held_out:
        return "no runs"
    estimate = found.improvement["area"][baseline]
    text = f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    return text if found.is_complete else f"{text} by the runs until now"


def seconds_to(level: float, runs: Sequence[Record]) -> float:
    """Return the median over runs of the seconds until the learning curve reaches a level; infinite for most: never.

    A run's steps are taken to be equally fast.
    """
    return float(np.median([_seconds_to(level, run) for run in runs]))


def _row(findings: EnvironmentFindings, runs: Runs) -> OverviewRow:
    comparisons = {pair: findings.comparison(*pair) for pair in FIRST_PAGE}
    verdicts = {pair: None if found is None else found.verdict for pair, found in comparisons.items()}
    is_missing = Verdict.INCOMPLETE in (verdicts[GENERAL, A2C], verdicts[GENERAL, PPO])
    return OverviewRow(
        environment=findings.environment.name,
        is_held_out=findings.environment.name in HELD_OUT,
        against_a2c=verdicts[GENERAL, A2C],
        against_ppo=verdicts[GENERAL, PPO],
        against_tuned_a2c=verdicts[TUNED, TUNED_A2C],
        beats_random=_beats_random(findings.environment, runs),
        final_scores={
            baseline: found.verdict_by("final score")
            for (arm, baseline), found in comparisons.items()
            if arm == GENERAL and found is not None
        },
        seconds={} if is_missing else _seconds(findings.environment, runs),
    )


def _beats_random(environment: Environment, runs: Runs) -> bool | None:
    if any(len(runs.get(arm, ())) < 2 for arm in (GENERAL, RANDOM)):
        return None
    ours, theirs = (scores("area", runs[arm]) for arm in (GENERAL, RANDOM))
    return statistics.iqm_difference(ours, theirs, generator(environment.name, GENERAL, RANDOM)).low > 0


def _by_verdict(findings: Sequence[EnvironmentFindings], arm: str, baseline: str) -> dict[Verdict, list[str]]:
    """Group environments by the verdict on an arm against a baseline."""
    names: dict[Verdict, list[str]] = {}
    for each in findings:
        comparison = each.comparison(arm, baseline)
        if comparison is not None and comparison.is_complete:
            names.setdefault(comparison.verdict, []).append(each.environment.name)
    return names


def _seconds(environment: Environment, runs: Runs) -> dict[str, float]:
    """Return the seconds to most of PPO's final score by arm; nothing if PPO learned nothing."""
    if not all(runs.get(arm) for arm in (*TIMED, RANDOM)):
        return {}
    final_scores = scores("final score", runs[PPO])
    if statistics.iqm(normalized(final_scores, runs[RANDOM], environment.solved)) < MIN_LEARNED:
        return {}
    floor = statistics.iqm(scores("area", runs[RANDOM]))
    level = floor + SHARE_OF_PPO * (statistics.iqm(final_scores) - floor)
    return {arm: seconds_to(level, runs[arm]) for arm in TIMED}


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
