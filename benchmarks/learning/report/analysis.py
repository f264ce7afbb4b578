"""Analysis of the records of runs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import statistics
from benchmarks.learning.arms import ARMS, GENERAL_VARIANTS, MATCHED_ARMS, label
from benchmarks.learning.curves import curve_grid, curve_window, final_score, learning_curve, steps_to_threshold
from benchmarks.learning.environments import ENVIRONMENTS, Environment
from benchmarks.learning.records import Record, load_all
from benchmarks.learning.report.findings import (
    Ablation,
    ArmResult,
    Band,
    Check,
    Comparison,
    Difference,
    EnvironmentFindings,
    Findings,
    StudyFindings,
    Verdict,
)
from benchmarks.learning.report.metrics import METRICS, Runs, generator, median_seconds, scores
from benchmarks.learning.report.overview import (
    A2C,
    FIRST_PAGE,
    GENERAL,
    MATCHED_A2C,
    PPO,
    RANDOM,
    REFERENCE,
    TUNED,
    TUNED_A2C,
    held_out_checks,
    overview,
    seconds_to,
)
from benchmarks.learning.report.studies import load_studies
from benchmarks.learning.statistics import Estimate
from benchmarks.learning.suites import ABLATION_ARMS, MAIN_ARMS, OUT_OF_THE_BOX_ARMS, RESULTS, SUITES, Suite
from benchmarks.speed.throughput import Measurement, from_records

REPORTED = tuple(suite for suite in SUITES.values() if suite.runs == RESULTS / "runs")
COMPARISONS = {
    GENERAL: (A2C, PPO),
    TUNED: (TUNED_A2C, MATCHED_A2C, A2C, "a2c-zoo", "a2c-td0", "ppo-zoo"),
    REFERENCE: (A2C, "a2c-zoo", "a2c-td0", "ppo-zoo"),
}
"""baselines that each of the package's arms is compared with"""
GOAL_BASELINES = (A2C, "a2c-zoo", "a2c-td0")
GOAL_ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "LunarLander-v3")
CURVES = (*(arm for arm in (*OUT_OF_THE_BOX_ARMS, *MAIN_ARMS) if arm != RANDOM), MATCHED_A2C)
"""arms with learning curves"""
FRESH = SUITES["fresh"]
LEVELS = {
    "CartPole-v1": 400.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -130.0,
    "LunarLander-v3": 0.0,
    "Pendulum-v1": -400.0,
    "FrozenLake-v1": 0.5,
    "MinAtar/Breakout-v1": 3.0,
    "Hopper-v5": 500.0,
}
"""returns that good runs reach, to compare the seconds until them"""
CARTPOLE_GOALS = {100_000: 495.0, 40_000: 475.0}
"""final score to reach, by number of steps"""

Plan = Mapping[tuple[str, str], int]
"""Number of planned runs by environment and arm."""


def plan(suites: Sequence[Suite] = REPORTED) -> dict[tuple[str, str], int]:
    """Count the planned runs of suites, by environment and arm.

    :param suites: the suites
    """
    # without duplicates, since an arm may be in several suites
    jobs = dict.fromkeys((job.environment.name, job.arm, job.seed) for suite in suites for job in suite.jobs())
    return dict(Counter((environment, arm) for environment, arm, _ in jobs))


def reported_environments() -> list[Environment]:
    """Return the environments of all reported suites: the main suite's, then the others'."""
    reported = [environment for suite in REPORTED for environment in suite.environments]
    return list({environment.name: environment for environment in (*reported, *ENVIRONMENTS.values())}.values())


def analyse_folder(results: Path) -> Findings:
    """Analyse all results of the benchmark.

    :param results: folder of the results
    :raises ValueError: as :func:`analyse` does
    """
    throughput = results / "throughput-cpu.json"
    return analyse(
        load_all(results / "runs"),
        reported_environments(),
        plan(),
        json.loads(throughput.read_text()) if throughput.exists() else None,
        load_all(results / "fresh"),
        load_studies(results / "studies"),
    )


def analyse(
    records: Iterable[Record],
    environments: Sequence[Environment],
    planned: Plan,
    throughput: Mapping[str, Any] | None = None,
    fresh: Iterable[Record] = (),
    studies: Sequence[StudyFindings] = (),
) -> Findings:
    """Analyse the runs.

    The result is deterministic: the bootstrap of each metric has its own random generator with a fixed seed.

    :param records: the runs
    :param environments: environments of the benchmark, in the order of the report
    :param planned: the planned runs
    :param throughput: result of ``python -m benchmarks throughput``, or ``None``
    :param fresh: the runs of the suite ``fresh``
    :param studies: the studies
    :raises ValueError: if runs of one arm on one environment differ in their settings
    """
    by_name = {environment.name: environment for environment in environments}
    kept, excluded = _select(records, by_name, planned)
    fresh_by_name = {environment.name: environment for environment in FRESH.environments}
    kept_fresh, excluded_fresh = _select(fresh, fresh_by_name, plan([FRESH]), FRESH.first_run)
    runs = {name: _by_arm(kept, name) for name in by_name}
    findings = _corrected([_on_environment(each, runs[name], planned) for name, each in by_name.items()], planned)
    found = overview(by_name, findings, runs, planned)
    return Findings(
        environments=tuple(each for each in findings if each.results),
        overview=found,
        checks=(
            *held_out_checks(found),
            *_comparison_checks(findings, planned),
            *_cartpole_checks(runs.get("CartPole-v1", {}), planned),
        ),
        fresh=tuple(_compare_fresh(kept_fresh)),
        studies=tuple(studies),
        planned=dict(planned),
        n_runs=dict(Counter((record.environment, record.arm) for record in kept)),
        excluded=(*excluded, *excluded_fresh),
        hours=sum(record.seconds for record in (*kept, *kept_fresh)) / 3600,
        conditions=_conditions([*kept, *kept_fresh]),
        throughput=tuple(_measurements(throughput)),
        throughput_conditions={name: value for name, value in (throughput or {}).items() if name != "results"},
    )


def _select(
    records: Iterable[Record], environments: Mapping[str, Environment], planned: Plan, first_run: int = 0
) -> tuple[list[Record], list[str]]:
    """Return the planned records, and a line per other record with the reason of its exclusion."""
    kept, excluded = [], []
    for record in records:
        reason = _exclusion_reason(record, environments, planned, first_run)
        if reason is None:
            kept.append(record)
        else:
            excluded.append(f"`{record.environment}`, `{record.arm}`, seed {record.seed}: {reason}")
    return kept, excluded


def _exclusion_reason(
    record: Record, environments: Mapping[str, Environment], planned: Plan, first_run: int
) -> str | None:
    if (record.environment, record.arm) not in planned:
        return "not planned"
    n_steps = environments[record.environment].n_steps
    if record.n_steps != n_steps:
        return f"{record.n_steps:,} steps instead of the planned {n_steps:,}"
    if not len(record.episode_ends):
        return "no episode ended"
    n_runs = planned[record.environment, record.arm]
    is_planned = first_run <= record.seed < first_run + n_runs
    return None if is_planned else f"not one of the {n_runs} planned seeds"


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
    return {arm: runs[arm] for arm in {**ARMS, **MATCHED_ARMS, **GENERAL_VARIANTS} if arm in runs}


def _on_environment(environment: Environment, runs: Runs, planned: Plan) -> EnvironmentFindings:
    name = environment.name
    several = {arm: same for arm, same in runs.items() if len(same) > 1}
    complete = {arm for arm, same in runs.items() if len(same) == planned[name, arm]}
    return EnvironmentFindings(
        environment=environment,
        level=LEVELS.get(name),
        results=tuple(
            _result(environment, same, planned[name, arm]) for arm, same in runs.items() if arm not in GENERAL_VARIANTS
        ),
        curves=tuple(_curve(same) for arm, same in several.items() if arm in CURVES),
        comparisons=tuple(
            _compare(several[arm], several[baseline], is_complete=complete >= {arm, baseline})
            for arm, baseline in _pairs(name)
            if several.keys() >= {arm, baseline}
        ),
        ablations=tuple(
            _ablate(several[arm], several[REFERENCE], is_complete=complete >= {arm, REFERENCE})
            for arm in ABLATION_ARMS
            if several.keys() >= {arm, REFERENCE}
        ),
        variations=tuple(
            _ablate(several[arm], several[GENERAL], is_complete=complete >= {arm, GENERAL})
            for arm in GENERAL_VARIANTS
            if several.keys() >= {arm, GENERAL}
        ),
        settings={arm: same[0].settings for arm, same in runs.items() if arm not in GENERAL_VARIANTS},
    )


def _result(environment: Environment, runs: Sequence[Record], n_planned: int) -> ArmResult:
    key = (environment.name, runs[0].arm)
    steps = np.array([steps_to_threshold(r.episode_ends, r.episode_returns, environment.solved) for r in runs])
    return ArmResult(
        arm=runs[0].arm,
        n_runs=len(runs),
        n_planned=n_planned,
        final_score=_iqm(scores("final score", runs), *key, "final score"),
        area=_iqm(scores("area", runs), *key, "area"),
        steps_to_threshold=float(np.median(steps)),
        n_solved=int(np.isfinite(steps).sum()),
        seconds=median_seconds(runs),
        seconds_to_level=seconds_to(LEVELS[environment.name], runs) if environment.name in LEVELS else None,
    )


def _iqm(sample: np.ndarray, *key: str) -> Estimate:
    if len(sample) == 1:
        return Estimate(float(sample[0]), np.nan, np.nan)
    return statistics.iqm_interval(sample, generator(*key))


def _curve(runs: Sequence[Record]) -> Band:
    first = runs[0]
    at, window = curve_grid(first.n_steps), curve_window(first.n_steps)
    curves = np.array([learning_curve(r.episode_ends, r.episode_returns, at, window) for r in runs])
    band = statistics.iqm_curve(curves, generator(first.environment, first.arm, "curve"))
    return Band(first.arm, len(runs), at, band.value, band.low, band.high)


def _compare(ours: Sequence[Record], theirs: Sequence[Record], is_complete: bool) -> Comparison:
    environment, arm, baseline = key = ours[0].environment, ours[0].arm, theirs[0].arm
    differences = {}
    for metric in METRICS:
        both = scores(metric, ours), scores(metric, theirs)
        differences[metric] = Difference(
            improvement=statistics.probability_of_improvement(*both, generator(*key, metric, "improvement")),
            iqm=statistics.iqm_difference(*both, generator(*key, metric, "difference")),
            p_value=statistics.permutation_test(*both, generator(*key, metric, "permutation")),
        )
    return Comparison(environment, arm, baseline, len(ours), len(theirs), is_complete, differences)


def _pairs(environment: str) -> list[tuple[str, str]]:
    """Return the arms and baselines that are compared on an environment."""
    arms = COMPARISONS if environment in ENVIRONMENTS else (GENERAL,)
    return [(arm, baseline) for arm in arms for baseline in COMPARISONS[arm]]


def _compare_fresh(records: Sequence[Record]) -> list[Comparison]:
    """Compare the tuned arm with the baselines of the suite ``fresh``."""
    planned = plan([FRESH])
    comparisons = []
    for environment, baseline in planned:
        runs = _by_arm(records, environment)
        ours, theirs = runs.get(TUNED, []), runs.get(baseline, [])
        if baseline != TUNED and len(ours) > 1 and len(theirs) > 1:
            is_complete = (len(ours), len(theirs)) == (planned[environment, TUNED], planned[environment, baseline])
            comparisons.append(_compare(ours, theirs, is_complete))
    return _corrected_together(comparisons, n_planned=sum(baseline != TUNED for _, baseline in planned))


def _corrected(findings: Sequence[EnvironmentFindings], planned: Plan) -> list[EnvironmentFindings]:
    """Correct the p-values: those of the comparisons on the first page, and those of all others."""
    environments = dict.fromkeys(environment for environment, _ in planned)
    planned_pairs = [
        pair
        for environment in environments
        for pair in _pairs(environment)
        # A2C is to be tuned on all environments that TDA2C is tuned on
        if all((environment, arm) in planned or arm == TUNED_A2C for arm in pair)
    ]
    corrected = {}
    for is_on_first_page in (True, False):
        comparisons = [
            comparison
            for each in findings
            for comparison in each.comparisons
            if ((comparison.arm, comparison.baseline) in FIRST_PAGE) == is_on_first_page
        ]
        n_planned = sum((pair in FIRST_PAGE) == is_on_first_page for pair in planned_pairs)
        for comparison in _corrected_together(comparisons, n_planned):
            corrected[comparison.environment, comparison.arm, comparison.baseline] = comparison
    return [
        replace(each, comparisons=tuple(corrected[each.environment.name, c.arm, c.baseline] for c in each.comparisons))
        for each in findings
    ]


def _corrected_together(comparisons: Sequence[Comparison], n_planned: int) -> list[Comparison]:
    """Correct the p-values by each metric for the number of planned comparisons."""
    corrected = list(comparisons)
    for metric in METRICS:
        p_values = np.array([each.by_metric[metric].p_value for each in corrected])
        differences = [
            replace(each.by_metric[metric], corrected_p=p)
            for each, p in zip(corrected, statistics.holm(p_values, n_planned).tolist(), strict=True)
        ]
        corrected = [
            replace(each, by_metric=each.by_metric | {metric: difference})
            for each, difference in zip(corrected, differences, strict=True)
        ]
    return corrected


def _ablate(changed: Sequence[Record], reference: Sequence[Record], is_complete: bool) -> Ablation:
    arm = changed[0].arm
    areas = scores("area", changed), scores("area", reference)
    difference = statistics.iqm_difference(*areas, generator(changed[0].environment, arm, "ablation"))
    return Ablation(arm, len(changed), len(reference), is_complete, difference)


def _comparison_checks(findings: Sequence[EnvironmentFindings], planned: Plan) -> list[Check]:
    verdicts = {
        (each.environment.name, baseline): comparison.verdict
        for each in findings
        for baseline in GOAL_BASELINES
        if (comparison := each.comparison(TUNED, baseline)) is not None
    }
    wanted = [(environment, baseline) for environment in GOAL_ENVIRONMENTS for baseline in GOAL_BASELINES[:2]]
    pairs = [(name, baseline) for name, baseline in planned if baseline in GOAL_BASELINES and (name, TUNED) in planned]
    return [_better_check(verdicts, wanted), _not_beaten_check(verdicts, pairs)]


def _better_check(verdicts: Mapping[tuple[str, str], Verdict], wanted: Sequence[tuple[str, str]]) -> Check:
    compared = {pair: verdicts.get(pair, Verdict.INCOMPLETE) for pair in wanted}
    missed = [
        f"{name} against {label(baseline)}: {v}" for (name, baseline), v in compared.items() if v != Verdict.BETTER
    ]
    return Check(
        f"{label(TUNED)} is better than {_listed(GOAL_BASELINES[:2])} on {', '.join(GOAL_ENVIRONMENTS)}",
        "; ".join(missed) or "better in all these comparisons",
        _reached(not missed, undecided=set(compared.values()) <= {Verdict.BETTER, Verdict.INCOMPLETE}),
    )


def _not_beaten_check(verdicts: Mapping[tuple[str, str], Verdict], pairs: Sequence[tuple[str, str]]) -> Check:
    compared = {pair: verdicts.get(pair, Verdict.INCOMPLETE) for pair in pairs}
    beaten = [
        f"worse than {label(baseline)} on {name}" for (name, baseline), v in compared.items() if v == Verdict.WORSE
    ]
    n_known = sum(v != Verdict.INCOMPLETE for v in compared.values())
    return Check(
        f"{label(TUNED)} is not worse than any of {_listed(GOAL_BASELINES)} on any environment",
        "; ".join(beaten) or f"not worse in any of {n_known} comparisons ({len(compared)} planned)",
        _reached(not beaten and n_known == len(compared), undecided=not beaten),
    )


def _cartpole_checks(runs: Runs, planned: Plan) -> list[Check]:
    return [_cartpole_check(runs.get(TUNED, []), planned, *goal) for goal in CARTPOLE_GOALS.items()]


def _cartpole_check(runs: Sequence[Record], planned: Plan, step: int, goal: float) -> Check:
    description = f"{label(TUNED)} on CartPole-v1: final score at least {goal:.0f} after {step:,} steps"
    if not runs:
        return Check(description, "no runs", None)
    at_step = np.array([final_score(run.episode_ends, run.episode_returns, step) for run in runs])
    score = _iqm(at_step, "CartPole-v1", TUNED, str(step))
    interval = f" [{score.low:.1f}, {score.high:.1f}]" if len(runs) > 1 else ""
    enough = len(runs) >= planned["CartPole-v1", TUNED]
    return Check(
        description,
        f"IQM {score.value:.1f}{interval} of {len(runs)} runs",
        _reached(enough and score.value >= goal, undecided=not enough),
    )


def _reached(reached: bool, undecided: bool) -> bool | None:
    """Return whether a goal was reached, or ``None`` if that is undecided."""
    return True if reached else None if undecided else False


def _listed(arms: Sequence[str]) -> str:
    return (" and " if len(arms) < 3 else ", ").join(map(label, arms))


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
