import math
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning.report import pages
from benchmarks.learning.report.analysis import analyse_folder
from benchmarks.learning.report.figures import draw_all
from benchmarks.learning.report.findings import Findings
from benchmarks.learning.statistics import Estimate
from tests.benchmarks.learning.report.made_up_runs import (
    HELD_OUT_PLAN,
    LEVELS,
    N_RUNS,
    PLAN,
    ROOT,
    all_records,
    analyse_runs,
    around,
    findings_on,
    held_out_records,
    run_of,
    runs_at,
)

DETAILS = "benchmark_details.md"


def test_first_page_has_a_row_for_each_environment_with_runs(report: Path) -> None:
    page = (report / "benchmarks.md").read_text()
    held_out, others = page.split("## On the environments that settings were chosen on")
    assert [line for line in held_out.splitlines() if line.startswith("| ")] == [
        "| TDA2C compared with | better on | no difference shown | worse on |",
        "| A2C out of the box: area under the learning curve | 2 | 0 | 1 |",
        "| A2C out of the box: final score | 2 | 0 | 1 |",
        "| PPO out of the box: area under the learning curve | 2 | 1 | 0 |",
        "| PPO out of the box: final score | 2 | 1 | 0 |",
        "| A2C out of the box, on the environments of the study: area | 1 | 0 | 0 |",
        "| | against A2C | against PPO | seconds: TDA2C | seconds: A2C | seconds: PPO |",
        "| InvertedDoublePendulum-v5 | better | better | 0.135 | never | 0.535 |",
        "| Reacher-v5 | better | no difference shown | 0.135 | never | 0.535 |",
        "| Walker2d-v5 | worse | better | – | – | – |",
    ]
    rows = [line for line in others.splitlines() if line.startswith("| ")]
    assert rows[1] == "| CartPole-v1 | better | – |"
    # on the others, the general setting has no runs
    assert len(rows) == 2


def test_first_page_says_when_its_verdicts_lack_runs(
    held_out_findings: Findings, findings_without_a_run: Findings
) -> None:
    complete, without_one = (
        pages.markdown("benchmarks.md", each, []) for each in (held_out_findings, findings_without_a_run)
    )
    assert "Runs are missing" not in complete
    assert "[Runs are missing](benchmark_details.md#missing-runs)" in without_one


def test_first_page_shows_seconds_only_with_runs_of_all() -> None:
    name = "InvertedDoublePendulum-v5"
    records = [record for record in held_out_records() if record.environment == name and record.arm != "a2c"]
    page = pages.markdown("benchmarks.md", analyse_runs(records, HELD_OUT_PLAN), [])
    assert f"| {name} | – | better | – | – | – |" in page


def test_page_states_the_verdicts_by_each_metric() -> None:
    # high returns at first and low ones later, compared with a constant 100
    falling = [
        run_of("CartPole-v1", "tda2c-tuned", seed, [500.0] * 100 + [level]) for seed, level in enumerate(around(50.0))
    ]
    findings = analyse_runs(falling + runs_at("CartPole-v1", "a2c", around(100.0)))
    page = pages.markdown(DETAILS, findings, [])
    (row,) = [line for line in page.splitlines() if line.startswith("| tuned TDA2C | A2C | 8, 8")]
    verdict, second_half, final = row.strip("| ").split(" | ")[6:]
    assert verdict == "better"
    assert second_half.startswith("worse: −")
    assert final.startswith("worse: −50.0 [")
    # all episodes are equally long, so that the two definitions of the area differ little
    assert "By the first definition, all verdicts are the same." in page


def test_page_lists_missing_runs(report: Path) -> None:
    page = (report / DETAILS).read_text()
    missing = page[page.index("### Missing runs") : page.index("## Results on each environment")]
    n_planned = sum(PLAN.values())
    assert f"{n_planned - 13} of {n_planned} planned runs are finished" in missing
    assert "- CartPole-v1: 3 of 10 runs of PPO with RL Zoo's settings\n" in missing
    assert "- FrozenLake-v1: 2 of 8 runs of tuned TDA2C\n" in missing
    assert "Acrobot-v1:" not in missing
    assert "| PPO with RL Zoo's settings | 3 of 10 |" in page


def test_page_lists_ablations(report: Path) -> None:
    page = (report / DETAILS).read_text()
    assert "| `tda2c-n-steps-1` | rollouts of 1 step instead of 5 | 8, 8 | −60.0 [" in page


def test_page_shows_the_sensitivity(report: Path) -> None:
    page = (report / DETAILS).read_text()
    rows = page[page.index("## Sensitivity") : page.index("## Speed")].splitlines()
    cells = [line.strip("| ").split(" | ") for line in rows if line.startswith("| ")]
    column = cells[0].index("CartPole-v1")
    values = {row[0]: row[column] for row in cells}
    assert values["`learning_rate` times 0.5"] == "**−100**"
    assert values["`n_steps` times 2"] == "0.000"
    assert values["`n_steps` times 4"] == "–"
    assert values["raw rewards"] == "–"


def test_pages_show_studies_and_equal_settings(report: Path) -> None:
    first, page = ((report / name).read_text() for name in ("benchmarks.md", DETAILS))
    verdicts = "five steps: better on CartPole-v1; no difference shown on LunarLander-v3; worse on Pendulum-v1. The"
    assert verdicts in first
    assert "| tuned TDA2C | CartPole-v1 | 3 | 12 | not recorded | 450 |" in page
    assert "| tuned A2C | CartPole-v1 | 3 | 12 | 1.25 | 450 |" in page
    assert "](figures/benchmarks/studies.svg)" in page
    rows = page[page.index("## Settings or algorithm?") : page.index("## Tuning")]
    assert "| A2C with TDA2C's tuned settings | 300 [298, 302] | " in rows
    assert "larger on CartPole-v1 with n = 2; smaller on CartPole-v1 with n = 32; not clearly different on" in rows


def test_unplanned_arm_is_not_compared() -> None:
    planned = {("CartPole-v1", "a2c"): N_RUNS}
    records = [record for record in all_records() if record.environment == "CartPole-v1"]
    page = pages.markdown(DETAILS, analyse_runs(records, planned), [])
    assert "- `CartPole-v1`, `tda2c-tuned`, seed 0: not planned" in page


def test_single_run_has_no_interval() -> None:
    findings = analyse_runs(runs_at("Pendulum-v1", "a2c", [-900.0]))
    result = findings_on(findings, "Pendulum-v1").results[0]
    assert pages.estimate(result.area) == "−900"
    assert not findings_on(findings, "Pendulum-v1").curves
    assert result.steps_to_threshold == np.inf
    assert "| A2C | 1 of 8 | −900 | −900 | never | 0 | 60.0 | never |" in pages.markdown(DETAILS, findings, [])


def test_page_has_the_settings_and_conditions_of_the_records(report: Path) -> None:
    page = (report / DETAILS).read_text()
    assert '- `a2c-td0`: `{"algorithm": "some", "arguments": {"gamma": 0.9}}`' in page
    assert f"| commit | c0ffee | {len(all_records())} |" in page
    assert f"| versions | torch 2.0 | {len(all_records())} |" in page
    hours = sum(record.seconds for record in all_records()) / 3600
    assert f"would have taken {hours:.3g} hours" in page
    assert "gpu" not in page[page.index("## Conditions") :]


def test_same_records_give_the_same_files(tmp_path: Path) -> None:
    records = [record for record in all_records() if record.environment == "LunarLander-v3"]
    for folder, ordered in (("one", records), ("other", records[::-1])):
        pages.write(analyse_runs(ordered), tmp_path / folder)
    one, other = (
        {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "other")
    )
    assert len(one) == 3 + 2
    assert one == other


def test_each_figure_is_written_twice_and_shown_once(report: Path) -> None:
    names = {path.stem for path in (report / pages.FIGURES).iterdir()}
    assert names == {
        "overview",
        "studies",
        "throughput",
        "ablation-CartPole-v1",
        *(f"curves-{environment}" for environment in LEVELS),
    }
    assert {path.name for path in (report / pages.FIGURES).iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("svg", "png")
    }
    text = "".join((report / name).read_text() for name in pages.PAGES)
    shown = re.findall(r"!\[[^]]+\]\(figures/benchmarks/(.+)\.svg\)", text)
    assert sorted(shown) == sorted(names)


def test_outdated_figures_are_deleted(tmp_path: Path) -> None:
    outdated = tmp_path / pages.FIGURES / "curves-Chess.svg"
    outdated.parent.mkdir(parents=True)
    outdated.touch()
    pages.write(analyse_runs(runs_at("CartPole-v1", "a2c", [1.0])), tmp_path)
    assert not outdated.exists()


@pytest.mark.parametrize(
    ("value", "written"),
    [(499.96, "500"), (99.87, "99.9"), (-99.87, "−99.9"), (0.12345, "0.123"), (12345.6, "12,346"), (-0.0001, "0.000")],
)
def test_numbers_are_formatted(value: float, written: str) -> None:
    assert pages.number(value) == written


def test_estimate_has_the_decimals_of_its_largest_number() -> None:
    assert pages.estimate(Estimate(-9.5, -120.0, 4.25)) == "−10 [−120, 4]"


def test_readme_has_the_results_of_the_first_page() -> None:
    page, readme = ((ROOT / name).read_text() for name in ("docs/benchmarks.md", "README.md"))
    results = page[page.index("| TDA2C compared with") : page.index("## Out of the box")]
    table, seconds, improvement, _ = results.split("\n\n")
    assert table in readme
    assert seconds in " ".join(readme.split())
    estimates = re.findall(r"0\.\d\d \[.*?\]", improvement)
    assert len(estimates) == 4
    assert all(estimate in readme for estimate in estimates)
    assert re.findall(r"A2C's median run takes [\d.]+ to [\d.]+ times as long", page)[0] in readme


def rows_by_environment(details: str, arm: str) -> list[dict[str, str]]:
    """Read the table of an arm's comparisons: for each environment, a cell by baseline."""
    table = details[details.index(f"| {arm} compared with |") :].split("\n\n")[0]
    header, _, *rows = ([cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_readme_counts_the_verdicts_of_the_details() -> None:
    details, readme = ((ROOT / name).read_text() for name in ("docs/benchmark_details.md", "README.md"))
    numbers = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"]
    rows = rows_by_environment(details, "tuned TDA2C")
    tuned = [row["A2C"].split(":")[0] for row in rows]
    better, worse = (numbers[tuned.count(verdict)] for verdict in ("better", "worse"))
    matched = [row["A2C with TDA2C's tuned settings"].split(":")[0] for row in rows]
    assert f"A2C with TDA2C's tuned settings and five-step returns on {numbers[matched.count('better')]} |" in readme
    claim = f"better than A2C's defaults on {better} of {numbers[len(tuned)]} environments, worse on {worse}"
    assert f"with tuned settings {claim}" in readme
    variants = ("A2C", "A2C with RL Zoo's settings", "A2C with λ = 0")
    reference = rows_by_environment(details, "TDA2C with reference settings")
    worse = [any(row[name].startswith("worse") for name in variants) for row in reference]
    uncorrected = [any(upper_bound(row[name]) < 0.5 for name in variants) for row in reference]
    claim = (
        f"worse than at least one of three variants of A2C on {numbers[sum(worse)]} of {numbers[len(reference)]} "
        "environments after the correction for the number of comparisons, and on "
        f"{numbers[sum(uncorrected)]} without it"
    )
    assert claim in " ".join(readme.split())


def upper_bound(cell: str) -> float:
    """Read the upper end of the interval in a cell of a table of comparisons; infinite: there is none."""
    bounds = re.search(r"\[([\d.]+), ([\d.]+)\]", cell)
    return math.inf if bounds is None else float(bounds[2])


@pytest.mark.slow
def test_committed_report_matches_the_committed_records() -> None:
    findings = analyse_folder(ROOT / "benchmarks/results")
    drawn = list(draw_all(findings))
    for name in pages.PAGES:
        assert pages.markdown(name, findings, drawn) == (ROOT / "docs" / name).read_text()
