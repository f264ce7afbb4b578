"""Analysis of the records of runs."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.curves import (
    area_under_curve,
    curve_grid,
    curve_window,
    final_score,
    learning_curve,
    second_half_area,
    steps_to_threshold,
)
from benchmarks.learning.environments import Environment
from benchmarks.learning.records import Record
from benchmarks.learning.report.findings import (
    Ablation,
    Aggregate,
    ArmResult,
    Band,
    Check,
    Comparison,
    Difference,
    EnvironmentFindings,
    Findings,
    Verdict,
)
from benchmarks.learning.statistics import Estimate
from benchmarks.learning.suites import ABLATION_ARMS, MAIN_ARMS, RESULTS, SUITES
from benchmarks.speed.throughput import Measurement, from_records

REPORTED = tuple(suite for suite in SUITES.values() if suite.runs == RESULTS / "runs")
RANDOM, REFERENCE_ARM, TUNED_ARM = "random", "tda2c", "tda2c-tuned"
OWN_ARMS = (TUNED_ARM, REFERENCE_ARM)
BASELINES = ("a2c", "a2c-zoo", "a2c-td0")
COMPARED = (*BASELINES, "ppo-zoo")
LEARNING_ARMS = tuple(arm for arm in MAIN_ARMS if arm != RANDOM)
PROFILE_AT = np.linspace(-0.5, 1.0, 151)
BOOTSTRAP_SEED = 0
GOAL_BASELINES = ("a2c", "a2c-zoo")
GOAL_ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "LunarLander-v3")
CARTPOLE_GOALS = {100_000: 495.0, 40_000: 475.0}
"""final score to reach, by number of steps"""

Metric = Callable[[Record], float]
METRICS: dict[str, Metric] = {
    "area": lambda run: area_under_curve(run.episode_ends, run.episode_returns, run.n_steps),
    "second half": lambda run: second_half_area(run.episode_ends, run.episode_returns, run.n_steps),
    "final score": lambda run: final_score(run.episode_ends, run.episode_returns, run.n_steps),
    "first area": lambda run: float(np.average(run.episode_returns, weights=run.episode_lengths)),
}
"""metrics of a comparison; the last is the area as it was defined before 23 November 2026"""
Plan = Mapping[tuple[str, str], int]
"""Number of planned runs by environment and arm."""
Runs = dict[str, list[Record]]
"""Runs on one environment by arm, sorted by seed."""


def plan() -> dict[tuple[str, str], int]:
    """Count the planned runs of all reported suites, by environment and arm."""
    # without duplicates, since an arm may be in several suites
    jobs = dict.fromkeys((job.environment.name, job.arm, job.seed) for suite in REPORTED for job in suite.jobs())
    return dict(Counter((environment, arm) for environment, arm, _ in jobs))


def analyse(
    records: Iterable[Record],
    environments: Sequence[Environment],
    planned: Plan,
    throughput: Mapping[str, Any] | None = None,
) -> Findings:
    """Analyse the runs.

    The result is deterministic: the bootstrap of each metric has its own random generator with a fixed seed.

    :param records: the runs
    :param environments: environments of the benchmark, in the order of the report
    :param planned: the planned runs
    :param throughput: result of ``python -m benchmarks throughput``, or ``None``
    :raises ValueError: if runs of one arm on one environment differ in their settings
    """
    by_name = {environment.name: environment for environment in environments}
    kept, excluded = _select(records, by_name, planned)
    runs = {name: _by_arm(kept, name) for name in by_name}
    findings = _corrected([_on_environment(each, runs[name], planned) for name, each in by_name.items()])
    aggregated = _comparable(runs)
    return Findings(
        environments=tuple(each for each in findings if each.results),
        aggregates=_aggregates(by_name, {name: runs[name] for name in aggregated}),
        aggregated=tuple(aggregated),
        checks=(*_comparison_checks(findings, planned), *_cartpole_checks(runs.get("CartPole-v1", {}), planned)),
        planned=dict(planned),
        n_runs=dict(Counter((record.environment, record.arm) for record in kept)),
        excluded=tuple(excluded),
        hours=sum(record.seconds for record in kept) / 3600,
        conditions=_conditions(kept),
        throughput=tuple(_measurements(throughput)),
        throughput_conditions={name: value for name, value in (throughput or {}).items() if name != "results"},
    )


def load_throughput(path: Path) -> dict[str, Any] | None:
    """Read the result of ``python -m benchmarks throughput``; ``None`` if the file does not exist."""
    return json.loads(path.read_text()) if path.exists() else None


def _select(
    records: Iterable[Record], environments: Mapping[str, Environment], planned: Plan
) -> tuple[list[Record], list[str]]:
    """Return the planned records, and a line per other record with the reason of its exclusion."""
    kept, excluded = [], []
    for record in records:
        reason = _exclusion_reason(record, environments, planned)
        if reason is None:
            kept.append(record)
        else:
            excluded.append(f"`{record.environment}`, `{record.arm}`, seed {record.seed}: {reason}")
    return kept, excluded


def _exclusion_reason(record: Record, environments: Mapping[str, Environment], planned: Plan) -> str | None:
    if (record.environment, record.arm) not in planned:
        return "not planned"
    n_steps = environments[record.environment].n_steps
    if record.n_steps != n_steps:
        return f"{record.n_steps:,} steps instead of the planned {n_steps:,}"
    if not len(record.episode_ends):
        return "no episode ended"
    n_runs = planned[record.environment, record.arm]
    return None if record.seed < n_runs else f"not one of the {n_runs} planned seeds"


def _by_arm(records: Sequence[Record], environment: str) -> Runs:
    runs: Runs = {}
    for record in records:
        if record.environment == environment:
            runs.setdefault(record.arm, []).append(record)
    for arm, same in runs.items():
        same.sort(key=lambda record: record.seed)
        for record in same:
            if record.settings != same[0].settings:
                raise ValueError(
                    f"{environment}, {arm}: the runs of seeds {same[0].seed} and {record.seed} differ in their "
                    f"settings ({same[0].settings} and {record.settings}): delete the outdated runs and run them again"
                )
    return {arm: runs[arm] for arm in (*MAIN_ARMS, *ABLATION_ARMS) if arm in runs}


def _on_environment(environment: Environment, runs: Runs, planned: Plan) -> EnvironmentFindings:
    name = environment.name
    several = {arm: same for arm, same in runs.items() if len(same) > 1}
    complete = {arm for arm, same in runs.items() if len(same) == planned[name, arm]}
    return EnvironmentFindings(
        environment=environment,
        results=tuple(_result(environment, same, planned[name, arm]) for arm, same in runs.items()),
        curves=tuple(_curve(same) for arm, same in several.items() if arm in LEARNING_ARMS),
        comparisons=tuple(
            _compare(several[arm], several[baseline], is_complete=complete >= {arm, baseline})
            for arm in OWN_ARMS
            for baseline in COMPARED
            if several.keys() >= {arm, baseline}
        ),
        ablations=tuple(
            _ablate(several[arm], several[REFERENCE_ARM], is_complete=complete >= {arm, REFERENCE_ARM})
            for arm in ABLATION_ARMS
            if several.keys() >= {arm, REFERENCE_ARM}
        ),
        settings={arm: same[0].settings for arm, same in runs.items()},
    )


def _result(environment: Environment, runs: Sequence[Record], n_planned: int) -> ArmResult:
    key = (environment.name, runs[0].arm)
    steps = np.array([steps_to_threshold(r.episode_ends, r.episode_returns, environment.solved) for r in runs])
    return ArmResult(
        arm=runs[0].arm,
        n_runs=len(runs),
        n_planned=n_planned,
        final_score=_iqm(_scores("final score", runs), *key, "final score"),
        area=_iqm(_scores("area", runs), *key, "area"),
        steps_to_threshold=float(np.median(steps)),
        n_solved=int(np.isfinite(steps).sum()),
        seconds=float(np.median([r.seconds for r in runs])),
    )


def _scores(metric: str, runs: Sequence[Record]) -> np.ndarray:
    return np.array([METRICS[metric](run) for run in runs])


def _iqm(scores: np.ndarray, *key: str) -> Estimate:
    if len(scores) == 1:
        return Estimate(float(scores[0]), np.nan, np.nan)
    return statistics.iqm_interval(scores, _generator(*key))


def _curve(runs: Sequence[Record]) -> Band:
    first = runs[0]
    at, window = curve_grid(first.n_steps), curve_window(first.n_steps)
    curves = np.array([learning_curve(r.episode_ends, r.episode_returns, at, window) for r in runs])
    band = statistics.iqm_curve(curves, _generator(first.environment, first.arm, "curve"))
    return Band(first.arm, len(runs), at, band.value, band.low, band.high)


def _compare(ours: Sequence[Record], theirs: Sequence[Record], is_complete: bool) -> Comparison:
    environment, arm, baseline = key = ours[0].environment, ours[0].arm, theirs[0].arm
    differences = {}
    for metric in METRICS:
        scores = _scores(metric, ours), _scores(metric, theirs)
        differences[metric] = Difference(
            improvement=statistics.probability_of_improvement(*scores, _generator(*key, metric, "improvement")),
            iqm=statistics.iqm_difference(*scores, _generator(*key, metric, "difference")),
            p_value=statistics.permutation_test(*scores, _generator(*key, metric, "permutation")),
        )
    return Comparison(environment, arm, baseline, len(ours), len(theirs), is_complete, differences)


def _corrected(findings: Sequence[EnvironmentFindings]) -> list[EnvironmentFindings]:
    """Correct the p-values of the comparisons by each metric for their number."""
    comparisons = [comparison for each in findings for comparison in each.comparisons]
    for metric in METRICS:
        p_values = np.array([comparison.by_metric[metric].p_value for comparison in comparisons])
        for k, corrected_p in enumerate(statistics.holm(p_values).tolist()):
            difference = replace(comparisons[k].by_metric[metric], corrected_p=corrected_p)
            by_metric = comparisons[k].by_metric | {metric: difference}
            comparisons[k] = replace(comparisons[k], by_metric=by_metric)
    rest = iter(comparisons)
    return [replace(each, comparisons=tuple(next(rest) for _ in each.comparisons)) for each in findings]


def _ablate(changed: Sequence[Record], reference: Sequence[Record], is_complete: bool) -> Ablation:
    arm = changed[0].arm
    generator = _generator(changed[0].environment, arm, "ablation")
    difference = statistics.iqm_difference(_scores("area", changed), _scores("area", reference), generator)
    return Ablation(arm, len(changed), len(reference), is_complete, difference)


def _comparable(runs: Mapping[str, Runs]) -> list[str]:
    """List the environments on which random actions, the package's arms and the baselines all have several runs.

    Arms without several runs on any environment are ignored.
    """
    several = {name: {arm for arm, same in by_arm.items() if len(same) > 1} for name, by_arm in runs.items()}
    started = set[str]().union(*several.values()) & {*OWN_ARMS, *BASELINES}
    return [name for name, arms in several.items() if started and started | {RANDOM} <= arms]


def _aggregates(environments: Mapping[str, Environment], runs: Mapping[str, Runs]) -> tuple[Aggregate, ...]:
    if not runs:
        return ()
    complete = [arm for arm in LEARNING_ARMS if all(len(by_arm.get(arm, ())) > 1 for by_arm in runs.values())]
    return tuple(_aggregate(arm, environments, runs) for arm in complete)


def _aggregate(arm: str, environments: Mapping[str, Environment], runs: Mapping[str, Runs]) -> Aggregate:
    """Aggregate an arm over the environments, with equally many runs of each: the first ones."""
    n_runs = min(len(by_arm[arm]) for by_arm in runs.values())
    scores = [
        _normalised(_scores("area", by_arm[arm][:n_runs]), by_arm[RANDOM], environments[name].solved)
        for name, by_arm in runs.items()
    ]
    profile = statistics.performance_profile(scores, PROFILE_AT, _generator(arm, "profile"))
    return Aggregate(
        arm,
        n_runs * len(scores),
        area=statistics.iqm_interval(scores, _generator(arm, "aggregate")),
        profile=Band(arm, n_runs * len(scores), PROFILE_AT, profile.value, profile.low, profile.high),
    )


def _normalised(areas: np.ndarray, random: Sequence[Record], solved: float) -> np.ndarray:
    floor = statistics.iqm(_scores("area", random))
    return (areas - floor) / (solved - floor)


def _comparison_checks(findings: Sequence[EnvironmentFindings], planned: Plan) -> list[Check]:
    verdicts = {
        (each.environment.name, baseline): comparison.verdict
        for each in findings
        for baseline in BASELINES
        if (comparison := each.comparison(TUNED_ARM, baseline)) is not None
    }
    wanted = [(environment, baseline) for environment in GOAL_ENVIRONMENTS for baseline in GOAL_BASELINES]
    pairs = [(name, baseline) for name, baseline in planned if baseline in BASELINES]
    return [_better_check(verdicts, wanted), _not_beaten_check(verdicts, pairs)]


def _better_check(verdicts: Mapping[tuple[str, str], Verdict], wanted: Sequence[tuple[str, str]]) -> Check:
    compared = {pair: verdicts.get(pair, Verdict.INCOMPLETE) for pair in wanted}
    missed = [f"{name} against `{baseline}`: {v}" for (name, baseline), v in compared.items() if v != Verdict.BETTER]
    return Check(
        f"`{TUNED_ARM}` is better than {_listed(GOAL_BASELINES)} on {', '.join(GOAL_ENVIRONMENTS)}",
        "; ".join(missed) or "better in all these comparisons",
        _reached(not missed, undecided=set(compared.values()) <= {Verdict.BETTER, Verdict.INCOMPLETE}),
    )


def _not_beaten_check(verdicts: Mapping[tuple[str, str], Verdict], pairs: Sequence[tuple[str, str]]) -> Check:
    compared = {pair: verdicts.get(pair, Verdict.INCOMPLETE) for pair in pairs}
    beaten = [f"worse than `{baseline}` on {name}" for (name, baseline), v in compared.items() if v == Verdict.WORSE]
    n_known = sum(v != Verdict.INCOMPLETE for v in compared.values())
    return Check(
        f"`{TUNED_ARM}` is not worse than any of {_listed(BASELINES)} on any environment",
        "; ".join(beaten) or f"not worse in any of {n_known} comparisons ({len(compared)} planned)",
        _reached(not beaten and n_known == len(compared), undecided=not beaten),
    )


def _cartpole_checks(runs: Runs, planned: Plan) -> list[Check]:
    return [_cartpole_check(runs.get(TUNED_ARM, []), planned, *goal) for goal in CARTPOLE_GOALS.items()]


def _cartpole_check(runs: Sequence[Record], planned: Plan, step: int, goal: float) -> Check:
    description = f"`{TUNED_ARM}` on CartPole-v1: final score at least {goal:.0f} after {step:,} steps"
    if not runs:
        return Check(description, "no runs", None)
    at_step = np.array([final_score(run.episode_ends, run.episode_returns, step) for run in runs])
    score = _iqm(at_step, "CartPole-v1", TUNED_ARM, str(step))
    interval = f" [{score.low:.1f}, {score.high:.1f}]" if len(runs) > 1 else ""
    enough = len(runs) >= planned["CartPole-v1", TUNED_ARM]
    return Check(
        description,
        f"IQM {score.value:.1f}{interval} of {len(runs)} runs",
        _reached(enough and score.value >= goal, undecided=not enough),
    )


def _reached(reached: bool, undecided: bool) -> bool | None:
    """Return whether a goal was reached, or ``None`` if that is undecided."""
    return True if reached else None if undecided else False


def _listed(arms: Sequence[str]) -> str:
    return " and ".join(f"`{arm}`" for arm in arms) if len(arms) < 3 else ", ".join(f"`{arm}`" for arm in arms)


def _conditions(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for name, value in record.conditions.items():
            # the features of a CPU are too many to list
            if value is not None and name != "numba_features":
                counts.setdefault(name, Counter())[_as_text(value)] += 1
    return {name: dict(values.most_common()) for name, values in counts.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return ", ".join(f"{name} {version}" for name, version in value.items()) if isinstance(value, dict) else str(value)


def _measurements(throughput: Mapping[str, Any] | None) -> list[Measurement]:
    return from_records(throughput["results"]) if throughput else []


def _generator(*key: str) -> np.random.Generator:
    """Return a metric's own random generator, so that runs added elsewhere do not change it."""
    return np.random.default_rng([BOOTSTRAP_SEED, *"/".join(key).encode()])
