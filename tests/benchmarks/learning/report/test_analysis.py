import dataclasses

import numpy as np
import pytest

from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.report.analysis import BASELINES, CARTPOLE_GOALS, analyse, plan
from benchmarks.learning.report.findings import Findings, Standing, Verdict
from tests.benchmarks.learning.report.made_up_runs import (
    EPISODE_LENGTH,
    N_RUNS,
    all_records,
    analyse_runs,
    around,
    findings_on,
    run_of,
    runs_at,
)


def test_plan_counts_the_runs_of_the_suites() -> None:
    planned = plan()
    assert planned["CartPole-v1", "a2c"] == 20
    # in both suites, counted once
    assert planned["Acrobot-v1", "tda2c"] == 10
    assert ("Pendulum-v1", "tda2c-double-softmax") not in planned


def test_standings_of_the_tuned_arm(findings: Findings) -> None:
    standings = findings.standings("tda2c-tuned", BASELINES)
    assert standings == {
        Standing.BETTER: {"CartPole-v1": ["a2c", "a2c-zoo", "a2c-td0"]},
        Standing.PARTLY: {"Acrobot-v1": ["a2c"]},
        Standing.WORSE: {"Pendulum-v1": ["a2c-zoo"]},
        Standing.OPEN: {"LunarLander-v3": ["a2c", "a2c-zoo", "a2c-td0"]},
        Standing.UNKNOWN: {"FrozenLake-v1": ["a2c", "a2c-td0"]},
    }


def test_arm_without_runs_is_not_compared() -> None:
    records = [
        *runs_at("CartPole-v1", "tda2c-tuned", around(480.0)),
        *runs_at("CartPole-v1", "a2c", around(300.0)),
        *runs_at("CartPole-v1", "a2c-td0", around(250.0)),
    ]
    standings = analyse_runs(records).standings("tda2c-tuned", BASELINES)
    assert standings[Standing.UNKNOWN]["CartPole-v1"] == ["a2c-zoo"]
    assert not standings[Standing.BETTER]


def test_arm_result_by_hand() -> None:
    runs = [
        # half of the steps at 0, the others at 2, 4 and 6. A point of the curve averages over ten episodes. So four of
        # the 100 points are at 0.2, 0.4, 0.6 and 0.8 of the level, and 46 at the level: areas 0.96, 1.92, 2.88, 100
        *(run_of("Hopper-v5", "a2c", seed, [0.0] * 100 + [level]) for seed, level in enumerate([2.0, 4.0, 6.0])),
        run_of("Hopper-v5", "a2c", 3, [100.0]),
    ]
    hopper = dataclasses.replace(ENVIRONMENTS["Hopper-v5"], solved=3.9)
    result = analyse(runs, [hopper], {("Hopper-v5", "a2c"): 10}).environments[0].results[0]
    assert (result.n_runs, result.n_planned) == (4, 10)
    assert result.area.value == pytest.approx((1.92 + 2.88) / 2)
    assert result.area.low < 2.4 < result.area.high
    assert result.final_score.value == pytest.approx(5.0)
    # the four runs: never; with 98 episodes at 4 and 2 at 0; with 65 at 6 and 35 at 0; with 20 episodes
    assert result.steps_to_threshold == EPISODE_LENGTH * (165 + 198) / 2
    assert result.n_solved == 3
    assert result.seconds == 11.5


def test_aggregate_by_hand() -> None:
    planned = {(name, arm): 6 for name in ("CartPole-v1", "FrozenLake-v1") for arm in ("random", "tda2c", "a2c")}
    records = [
        *runs_at("CartPole-v1", "random", [75.0] * 6),
        *runs_at("FrozenLake-v1", "random", [0.0] * 6),
        # a half and a quarter of the distance from random actions to 475 and 0.7
        *runs_at("CartPole-v1", "tda2c", [275.0] * 4 + [1000.0] * 2),
        *runs_at("FrozenLake-v1", "tda2c", [0.175] * 4),
        *runs_at("CartPole-v1", "a2c", [75.0] * 6),
        *runs_at("FrozenLake-v1", "a2c", [0.7] * 6),
        # not aggregated, since the other arms have no runs there
        *runs_at("Pendulum-v1", "a2c", [-200.0] * 6),
    ]
    findings = analyse_runs(records, planned | {("Pendulum-v1", "a2c"): 6})
    assert findings.aggregated == ("CartPole-v1", "FrozenLake-v1")
    tda2c, a2c = findings.aggregates
    # the first four runs of each environment
    assert (tda2c.n_runs, tda2c.area.value) == (8, pytest.approx(0.375))
    assert (a2c.n_runs, a2c.area.value) == (12, pytest.approx(0.5))
    share = dict(zip(tda2c.profile.at.round(2), tda2c.profile.value, strict=True))
    assert (share[0.24], share[0.26], share[0.49], share[0.51]) == (1.0, 0.5, 0.5, 0.0)


def test_p_values_are_corrected_for_all_comparisons(findings: Findings) -> None:
    comparisons = [comparison for each in findings.environments for comparison in each.comparisons]
    smallest = min(comparison.area.p_value for comparison in comparisons)
    clearest = next(comparison for comparison in comparisons if comparison.area.p_value == smallest)
    assert clearest.area.corrected_p == pytest.approx(smallest * len(comparisons))
    assert len(comparisons) > 10


def test_ablations_have_their_verdicts(findings: Findings) -> None:
    ablations = {ablation.arm: ablation for ablation in findings_on(findings, "CartPole-v1").ablations}
    assert {arm: ablation.verdict for arm, ablation in ablations.items()} == {
        "tda2c-tanh": Verdict.BETTER,
        "tda2c-n-steps-1": Verdict.WORSE,
        "tda2c-truncation": Verdict.OPEN,
    }
    assert ablations["tda2c-tanh"].difference.value == pytest.approx(60.0)
    assert ablations["tda2c-n-steps-1"].difference.value == pytest.approx(-60.0)


@pytest.mark.parametrize(
    ("at_40k", "at_100k", "n_runs", "reached"),
    [
        (476.0, 496.0, N_RUNS, (True, True)),
        (474.0, 496.0, N_RUNS, (True, False)),
        (476.0, 494.0, N_RUNS, (False, True)),
        (476.0, 496.0, N_RUNS - 1, (None, None)),
    ],
)
def test_cartpole_goals(at_40k: float, at_100k: float, n_runs: int, reached: tuple[bool, bool]) -> None:
    # 0 outside of (36,000, 40,000] and (90,000, 100,000]
    returns = [0.0] * 72 + [at_40k] * 8 + [0.0] * 100 + [at_100k] * 20
    findings = analyse_runs([run_of("CartPole-v1", "tda2c-tuned", seed, returns) for seed in range(n_runs)])
    checks = [check for check in findings.checks if "final score" in check.goal]
    assert tuple(check.reached for check in checks) == reached
    assert f"IQM {at_100k} [{at_100k}, {at_100k}] of {n_runs} runs" == checks[0].found
    assert list(CARTPOLE_GOALS) == [100_000, 40_000]


def test_comparison_goals(findings: Findings) -> None:
    better, not_beaten = findings.checks[:2]
    assert better.reached is False
    assert better.found.startswith("Acrobot-v1 against `a2c-zoo`: no difference shown; LunarLander-v3 against `a2c`:")
    assert not_beaten.reached is False
    assert not_beaten.found == "worse than `a2c-zoo` on Pendulum-v1"
    cartpole = [record for record in all_records() if record.environment == "CartPole-v1"]
    better, not_beaten = analyse_runs(cartpole).checks[:2]
    assert better.reached is None
    assert not_beaten.reached is None
    assert not_beaten.found.startswith("not worse in any of 3 comparisons (14 planned)")


def test_unplanned_runs_are_excluded() -> None:
    short = dataclasses.replace(run_of("CartPole-v1", "a2c", 7, [1.0]), n_steps=2_000)
    empty = dataclasses.replace(
        run_of("CartPole-v1", "a2c", 8, [0.0]),
        episode_ends=np.array([], int),
        episode_returns=np.array([]),
        episode_lengths=np.array([], int),
    )
    unknown = run_of("CartPole-v1", "dreamer", 0, [500.0])
    beyond = run_of("CartPole-v1", "a2c", N_RUNS, [500.0])
    findings = analyse_runs([*runs_at("CartPole-v1", "a2c", [100.0] * 2), short, empty, unknown, beyond])
    assert findings.excluded == (
        "`CartPole-v1`, `a2c`, seed 7: 2,000 steps instead of the planned 100,000",
        "`CartPole-v1`, `a2c`, seed 8: no episode ended",
        "`CartPole-v1`, `dreamer`, seed 0: not planned",
        f"`CartPole-v1`, `a2c`, seed {N_RUNS}: not one of the {N_RUNS} planned seeds",
    )
    assert [(result.arm, result.n_runs) for result in findings.environments[0].results] == [("a2c", 2)]


def test_runs_with_different_settings_are_rejected() -> None:
    runs = runs_at("CartPole-v1", "a2c", [100.0, 100.0])
    runs[1] = dataclasses.replace(runs[1], settings={"algorithm": "another"})
    with pytest.raises(ValueError, match="CartPole-v1, a2c: the runs of seeds 0 and 1 differ in their settings"):
        analyse_runs(runs)


def test_results_do_not_depend_on_other_environments(findings: Findings) -> None:
    alone = analyse_runs([record for record in all_records() if record.environment == "Acrobot-v1"])
    ours, theirs = findings_on(alone, "Acrobot-v1").comparisons, findings_on(findings, "Acrobot-v1").comparisons
    for one, other in zip(ours, theirs, strict=True):
        for metric, expected in other.by_metric.items():
            # but for the correction of the p-value
            assert dataclasses.replace(one.by_metric[metric], corrected_p=expected.corrected_p) == expected
    assert findings_on(alone, "Acrobot-v1").results == findings_on(findings, "Acrobot-v1").results
