import dataclasses

import numpy as np
import pytest

from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.report.analysis import CARTPOLE_GOALS, analyse, plan
from benchmarks.learning.report.findings import Findings, Verdict
from benchmarks.learning.report.overview import n_faster, seconds_to
from tests.benchmarks.learning.report.made_up_runs import (
    EPISODE_LENGTH,
    HELD_OUT_PLAN,
    N_RUNS,
    PLAN,
    all_records,
    analyse_runs,
    around,
    findings_on,
    held_out_records,
    run_of,
    runs_at,
)


def test_plan_counts_the_runs_of_the_suites() -> None:
    planned = plan()
    assert planned["CartPole-v1", "a2c"] == 20
    # in both suites, counted once
    assert planned["Acrobot-v1", "tda2c"] == 10
    assert ("Pendulum-v1", "tda2c-double-softmax") not in planned


def test_comparisons_have_their_verdicts(findings: Findings) -> None:
    verdicts = {
        (each.environment.name, comparison.baseline): comparison.verdict
        for each in findings.environments
        for comparison in each.comparisons
        if comparison.arm == "tda2c-tuned"
    }
    assert {verdicts["CartPole-v1", baseline] for baseline in ("a2c", "a2c-zoo", "a2c-td0")} == {Verdict.BETTER}
    assert (verdicts["Acrobot-v1", "a2c"], verdicts["Acrobot-v1", "a2c-zoo"]) == (Verdict.BETTER, Verdict.OPEN)
    assert verdicts["Pendulum-v1", "a2c-zoo"] == Verdict.WORSE
    assert verdicts["LunarLander-v3", "a2c"] == Verdict.OPEN
    assert verdicts["FrozenLake-v1", "a2c"] == verdicts["CartPole-v1", "ppo-zoo"] == Verdict.INCOMPLETE


def test_rows_of_the_first_page(findings: Findings) -> None:
    rows = {row.environment: row for row in findings.overview.rows}
    assert [name for name, row in rows.items() if row.is_held_out] == list(findings.overview.held_out)
    double_pendulum, reacher, walker = (rows[name] for name in findings.overview.held_out)
    assert (double_pendulum.against_a2c, double_pendulum.against_ppo) == (Verdict.BETTER, Verdict.BETTER)
    assert (reacher.against_a2c, reacher.against_ppo) == (Verdict.BETTER, Verdict.OPEN)
    assert walker.against_a2c == Verdict.WORSE
    assert (rows["CartPole-v1"].against_a2c, rows["CartPole-v1"].against_ppo) == (Verdict.BETTER, None)
    # the curves are flat: their level is reached after a hundredth of the steps, or never
    assert double_pendulum.seconds == {"tda2c-general": 0.135, "a2c": np.inf, "ppo": 0.535}
    assert walker.seconds == {}


def test_rows_have_verdicts_by_the_final_score_too() -> None:
    # high returns at first and low ones later
    name = "InvertedDoublePendulum-v5"
    falling = [run_of(name, "tda2c-general", seed, [9000.0] * 150 + [level]) for seed, level in enumerate(around(10.0))]
    (row,) = analyse_runs(falling + runs_at(name, "a2c", around(400.0)), HELD_OUT_PLAN).overview.rows
    assert (row.against_a2c, row.final_scores["a2c"]) == (Verdict.BETTER, Verdict.WORSE)


@pytest.mark.parametrize(("level", "beats_random"), [(60.0, True), (50.0, False), (40.0, False)])
def test_rows_say_whether_random_actions_are_beaten(level: float, beats_random: bool) -> None:
    name = "InvertedDoublePendulum-v5"
    records = runs_at(name, "tda2c-general", around(level)) + runs_at(name, "random", around(50.0))
    (row,) = analyse_runs(records, HELD_OUT_PLAN).overview.rows
    assert row.beats_random is beats_random


def test_faster_by_a_factor(findings: Findings) -> None:
    # 0.135 seconds, never and 0.535 on two environments
    rows = [row for row in findings.overview.rows if row.seconds]
    assert [n_faster(rows, factor) for factor in (1.0, 3.9, 4.0)] == [2, 2, 0]


def test_held_out_environments_together(findings: Findings) -> None:
    found = findings.overview
    # better with a probability of 1, 1 and 0 than A2C; of 1, a half and 1 than PPO
    for metric in ("area", "final score"):
        assert found.improvement[metric]["a2c"].value == pytest.approx(2 / 3)
        assert found.improvement[metric]["ppo"].value == pytest.approx(2.5 / 3, abs=0.02)
    # median seconds of A2C and of TDA2C
    assert found.speedups == pytest.approx([63.5 / 13.5] * 3)
    over_steps = {band.arm: band for band in found.over_steps}
    assert list(over_steps) == ["tda2c-general", "tda2c", "a2c", "ppo"]
    # the middle half of the runs, whose levels are around (8000 - 50) / (9100 - 50), 20 / 36.25 and 98 / 3998
    assert over_steps["tda2c-general"].value[[0, -1]] == pytest.approx(0.48, abs=0.1)
    over_seconds = {band.arm: band for band in found.over_seconds}
    np.testing.assert_allclose(over_seconds["ppo"].value, over_steps["ppo"].value[0])
    assert over_seconds["a2c"].at[-1] == 60.0 + N_RUNS - 1


def test_seconds_are_those_of_the_curve() -> None:
    # 50 episodes of 500 steps at 0, then 150 at 100. A point averages over ten episodes: 55 at the 56th of 100 percent
    runs = [run_of("CartPole-v1", "ppo", seed, [0.0] * 50 + [100.0]) for seed in range(3)]
    reached = 0.01 * np.ceil(100 * (50 + 5.5) / 200)
    assert seconds_to(55.0, runs) == pytest.approx(51.0 * reached)
    assert seconds_to(101.0, runs) == np.inf


def test_goals_on_held_out_environments(held_out_findings: Findings) -> None:
    # better than both on the first, equal to PPO on the second, worse than A2C on the third
    checks = held_out_findings.checks[:4]
    assert [check.reached for check in checks] == [True, False, True, True]
    assert checks[1].found == "worse on Walker2d-v5"
    assert checks[3].found == "on 8 of 8"


def test_goals_are_undecided_until_all_runs_are_there(findings_without_a_run: Findings) -> None:
    checks = findings_without_a_run.checks[:4]
    # it is worse on one environment, and will be
    assert [check.reached for check in checks] == [None, False, None, None]
    assert checks[0].found.endswith("by the runs until now")


def test_goals_are_undecided_until_all_environments_are_there() -> None:
    records = [record for record in held_out_records() if record.environment != "Walker2d-v5"]
    assert {check.reached for check in analyse_runs(records, HELD_OUT_PLAN).checks[:4]} == {None}


def test_goals_without_runs_are_undecided() -> None:
    alone = analyse_runs([record for record in all_records() if record.environment == "CartPole-v1"])
    assert {check.reached for check in alone.checks[:4]} == {None}


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
    assert result.seconds == 61.5
    # the level of 500 is above all of them
    assert result.seconds_to_level == np.inf


def test_p_values_are_corrected_for_the_planned_comparisons_of_their_page(findings: Findings) -> None:
    comparisons = [comparison for each in findings.environments for comparison in each.comparisons]
    first_page = [each for each in comparisons if each.arm == "tda2c-general" or each.baseline == "a2c-matched"]
    others = [comparison for comparison in comparisons if comparison not in first_page]
    assert len(first_page) == 7 + 3
    # those with tuned A2C are planned, and have no runs yet
    n_tuned = len({name for name, arm in PLAN if arm == "tda2c-tuned"})
    for family, n_planned in ((first_page, 7 + 3 + n_tuned), (others, len(others))):
        clearest = min(family, key=lambda comparison: comparison.area.p_value)
        assert clearest.area.corrected_p == pytest.approx(clearest.area.p_value * n_planned)


def test_fresh_seeds_are_compared_by_themselves() -> None:
    levels = {"tda2c-tuned": 100.0, "a2c": 50.0, "a2c-td0": 100.0}
    fresh = [
        dataclasses.replace(run, seed=10 + run.seed)
        for arm, level in levels.items()
        for run in runs_at("LunarLander-v3", arm, around(level, n_runs=20))
    ]
    to_a2c, to_td0 = analyse_runs([], fresh=fresh).fresh
    assert (to_a2c.baseline, to_a2c.verdict, to_a2c.n_runs) == ("a2c", Verdict.BETTER, 20)
    # with the planned one on MinAtar
    assert to_a2c.area.corrected_p == pytest.approx(3 * to_a2c.area.p_value)
    assert (to_td0.baseline, to_td0.verdict) == ("a2c-td0", Verdict.OPEN)
    (one_missing,) = analyse_runs([], fresh=fresh[:39]).fresh
    assert one_missing.verdict == Verdict.INCOMPLETE
    # runs of other seeds, lengths and arms do not count
    unplanned = [
        dataclasses.replace(fresh[0], seed=0),
        dataclasses.replace(fresh[0], n_steps=2_000),
        dataclasses.replace(fresh[0], arm="ppo-zoo"),
    ]
    assert analyse_runs([], fresh=[*fresh, *unplanned]).fresh == (to_a2c, to_td0)


def test_environments_are_grouped_by_the_verdict_with_equal_settings(findings: Findings) -> None:
    assert findings.overview.matched == {
        Verdict.BETTER: ["CartPole-v1"],
        Verdict.OPEN: ["LunarLander-v3"],
        Verdict.WORSE: ["Pendulum-v1"],
    }


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
    checks = [check for check in findings.checks if "CartPole-v1: final score" in check.goal]
    assert tuple(check.reached for check in checks) == reached
    assert f"IQM {at_100k} [{at_100k}, {at_100k}] of {n_runs} runs" == checks[0].found
    assert list(CARTPOLE_GOALS) == [100_000, 40_000]


def test_comparison_goals(findings: Findings) -> None:
    better, not_beaten = findings.checks[4:6]
    assert better.reached is False
    assert better.found.startswith(
        "Acrobot-v1 against A2C with RL Zoo's settings: no difference shown; LunarLander-v3 against A2C:"
    )
    assert not_beaten.reached is False
    assert not_beaten.found == "worse than A2C with RL Zoo's settings on Pendulum-v1"
    cartpole = [record for record in all_records() if record.environment == "CartPole-v1"]
    better, not_beaten = analyse_runs(cartpole).checks[4:6]
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
