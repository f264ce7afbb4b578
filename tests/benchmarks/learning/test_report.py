import dataclasses
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.learning.arms import ARMS
from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import Record, load_all, save
from benchmarks.learning.report import pages
from benchmarks.learning.report.analysis import CARTPOLE_GOALS, analyse, load_throughput, plan
from benchmarks.learning.report.figures import draw_all
from benchmarks.learning.report.findings import Comparison, EnvironmentFindings, Findings, Standing, Verdict
from benchmarks.learning.statistics import Estimate

ROOT = Path(__file__).parents[3]
RUNS = ROOT / "benchmarks/results/runs"
THROUGHPUT = ROOT / "benchmarks/results/throughput-cpu.json"
CHROMIUM = shutil.which("chromium")
BASELINES = ("a2c", "a2c-zoo", "a2c-td0")
N_RUNS = 6
EPISODE = 500


def run_of(environment: str, arm: str, seed: int, returns: Sequence[float], length: int = EPISODE) -> Record:
    """Make a record of episodes of one length that fill the environment's steps, whose returns repeat the last one."""
    n_steps = ENVIRONMENTS[environment].n_steps
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
        seconds=10.0 + seed,
        conditions={"commit": "c0ffee", "cpu": "abacus", "gpu": None, "versions": {"torch": "2.0"}},
    )


def runs_at(environment: str, arm: str, levels: Sequence[float]) -> list[Record]:
    """Make a run of constant return for each level."""
    return [run_of(environment, arm, seed, [level]) for seed, level in enumerate(levels)]


def around(level: float, spread: float = 5.0, n_runs: int = N_RUNS) -> np.ndarray:
    return level + spread * np.linspace(-1, 1, n_runs)


# on CartPole the tuned arm is better than each, on Acrobot better than one, on Pendulum worse than one, on LunarLander
# like the others; what it lacks on FrozenLake is runs
LEVELS = {
    "CartPole-v1": {
        "random": 20.0,
        "tda2c": 200.0,
        "tda2c-tuned": 480.0,
        "a2c": 300.0,
        "a2c-zoo": 320.0,
        "a2c-td0": 250.0,
        "tda2c-tanh": 260.0,
        "tda2c-n-steps-1": 140.0,
        "tda2c-truncation": 200.0,
    },
    "Acrobot-v1": {"random": -500.0, "tda2c-tuned": -90.0, "a2c": -200.0, "a2c-zoo": -90.0, "a2c-td0": -90.0},
    "LunarLander-v3": {"random": -180.0, "tda2c-tuned": 50.0, "a2c": 50.0, "a2c-zoo": 50.0, "a2c-td0": 50.0},
    "Pendulum-v1": {"random": -1200.0, "tda2c-tuned": -600.0, "a2c": -900.0, "a2c-zoo": -200.0, "a2c-td0": -600.0},
    "FrozenLake-v1": {"random": 0.0, "a2c": 0.5, "a2c-td0": 0.5},
}
PLAN = {(environment, arm): N_RUNS for environment, levels in LEVELS.items() for arm in levels} | {
    ("FrozenLake-v1", "tda2c-tuned"): N_RUNS,
    ("CartPole-v1", "ppo-zoo"): 10,
}


def benchmark() -> list[Record]:
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


def analysed(records: Sequence[Record], planned: dict[tuple[str, str], int] = PLAN) -> Findings:
    return analyse(records, list(ENVIRONMENTS.values()), planned, load_throughput(THROUGHPUT))


def on(found: Findings, environment: str) -> EnvironmentFindings:
    return next(findings for findings in found.environments if findings.environment.name == environment)


@pytest.fixture(scope="module")
def found() -> Findings:
    return analysed(benchmark())


@pytest.fixture(scope="module")
def report(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    pages.write(found, folder)
    return folder


@pytest.mark.parametrize(
    ("improvement", "is_complete", "verdict"),
    [
        ((0.75, 0.51, 0.9), True, Verdict.BETTER),
        ((0.74, 0.51, 0.9), True, Verdict.OPEN),
        ((0.80, 0.50, 0.9), True, Verdict.OPEN),
        ((0.30, 0.10, 0.49), True, Verdict.WORSE),
        ((0.30, 0.10, 0.50), True, Verdict.OPEN),
        ((1.00, 1.00, 1.0), False, Verdict.INCOMPLETE),
        ((0.00, 0.00, 0.0), False, Verdict.INCOMPLETE),
    ],
)
def test_the_rule_of_the_verdicts(improvement: tuple[float, float, float], is_complete: bool, verdict: Verdict) -> None:
    probability, other = Estimate(*improvement), Estimate(0.5, 0.4, 0.6)
    zero = Estimate(0, 0, 0)
    assert Comparison("e", "x", "y", 9, 9, is_complete, probability, other, zero, 0.5).verdict == verdict
    assert Comparison("e", "x", "y", 9, 9, is_complete, other, probability, zero, 0.5).final_verdict == verdict


def test_who_is_better_and_who_is_beaten(found: Findings) -> None:
    standings = found.standings("tda2c-tuned", BASELINES)
    assert standings == {
        Standing.BETTER: {"CartPole-v1": ["a2c", "a2c-zoo", "a2c-td0"]},
        Standing.PARTLY: {"Acrobot-v1": ["a2c"]},
        Standing.WORSE: {"Pendulum-v1": ["a2c-zoo"]},
        Standing.OPEN: {"LunarLander-v3": ["a2c", "a2c-zoo", "a2c-td0"]},
        Standing.UNKNOWN: {"FrozenLake-v1": ["a2c", "a2c-td0"]},
    }


def test_where_the_final_scores_say_otherwise_the_page_says_so() -> None:
    # high at first, then forgotten, beside a constant 100
    forgotten = [
        run_of("CartPole-v1", "tda2c-tuned", seed, [500.0] * 100 + [level]) for seed, level in enumerate(around(50.0))
    ]
    found = analysed(forgotten + runs_at("CartPole-v1", "a2c", around(100.0)))
    (comparison,) = on(found, "CartPole-v1").disagreeing_by_final_score
    assert (comparison.verdict, comparison.final_verdict) == (Verdict.BETTER, Verdict.WORSE)
    page = pages.markdown(found, [])
    assert "By the final scores the verdict on CartPole-v1 would be another:" in page
    assert "- `tda2c-tuned` beside `a2c`: worse, 0.00 [0.00, 0.00], where the areas say better" in page


def test_the_page_says_so_first(report: Path) -> None:
    page = (report / "benchmarks.md").read_text()
    answer = page[page.index("**`tda2c-tuned`**") : page.index("**`tda2c`**")]
    bullets = [line for line in answer.splitlines() if line.startswith("- ")]
    assert bullets == [
        "- **better than each of them** on CartPole-v1",
        "- **better than some of them, worse than none** on Acrobot-v1 (`a2c`)",
        "- **worse than at least one of them** on Pendulum-v1 (`a2c-zoo`)",
        "- **not shown to be better or worse than any of them** on LunarLander-v3",
        "- **not compared with each of them yet** on FrozenLake-v1 (`a2c` and `a2c-td0`)",
    ]
    assert re.findall("^## .*", page, re.MULTILINE)[0] == "## Should I use this rather than stock A2C?"
    assert "| LunarLander-v3 | no difference shown: 0.50 [" in page


def test_what_is_missing_is_named(report: Path) -> None:
    page = (report / "benchmarks.md").read_text()
    missing = page[page.index("### What is missing") : page.index("## Over the environments")]
    assert "- CartPole-v1: 3 of 10 runs of `ppo-zoo`\n" in missing
    assert "- FrozenLake-v1: 2 of 6 runs of `tda2c-tuned`\n" in missing
    assert "- `a2c-zoo` on FrozenLake-v1\n" in missing
    assert "Acrobot-v1:" not in missing
    assert f"What {len(benchmark())} of the {sum(PLAN.values())} planned runs show." in page
    assert "| `ppo-zoo` | 3 of 10 |" in page


def test_an_arm_without_runs_is_not_compared() -> None:
    records = [record for record in benchmark() if (record.environment, record.arm) != ("CartPole-v1", "a2c-zoo")]
    standings = analysed(records).standings("tda2c-tuned", BASELINES)
    assert standings[Standing.UNKNOWN]["CartPole-v1"] == ["a2c-zoo"]
    assert not standings[Standing.BETTER]


def test_an_arm_that_is_not_planned_is_not_compared() -> None:
    planned = {pair: n_runs for pair, n_runs in PLAN.items() if pair[1] != "tda2c-tuned"}
    page = pages.markdown(analysed(benchmark(), planned), [])
    assert "- **not compared**: there are no settings for it yet" in page
    assert "`CartPole-v1`, `tda2c-tuned`, seed 0: not planned" in page


def test_figures_by_hand() -> None:
    runs = [
        # half of the steps at 0, the rest at 2, 4, 6; a point of the curve looks back on ten episodes, so that after
        # the rise four of 100 points are at 0.2, 0.4, 0.6, 0.8 of it and 46 at all of it: areas 0.96, 1.92, 2.88, 100
        *(run_of("Hopper-v5", "a2c", seed, [0.0] * 100 + [level]) for seed, level in enumerate([2.0, 4.0, 6.0])),
        run_of("Hopper-v5", "a2c", 3, [100.0]),
    ]
    hopper = dataclasses.replace(ENVIRONMENTS["Hopper-v5"], solved=3.9)
    result = analyse(runs, [hopper], {("Hopper-v5", "a2c"): 10}).environments[0].results[0]
    assert (result.n_runs, result.n_planned) == (4, 10)
    assert result.area.value == pytest.approx((1.92 + 2.88) / 2)
    assert result.area.low < 2.4 < result.area.high
    assert result.final_score.value == pytest.approx(5.0)
    # never; after 98 episodes at 4 with 2 at 0; after 65 at 6 with 35 at 0; after 20: the median of the four
    assert result.steps_to_threshold == EPISODE * (165 + 198) / 2
    assert result.n_solved == 3
    assert result.seconds == 11.5


def test_one_run_has_no_interval() -> None:
    found = analysed(runs_at("Pendulum-v1", "a2c", [-900.0]))
    result = on(found, "Pendulum-v1").results[0]
    assert pages.estimate(result.area) == "−900"
    assert not on(found, "Pendulum-v1").curves
    assert result.steps_to_threshold == np.inf
    assert "| `a2c` | 1 of 6 | −900 | −900 | never | 0 |" in pages.markdown(found, [])


def test_the_aggregate_by_hand() -> None:
    planned = {(name, arm): 6 for name in ("CartPole-v1", "FrozenLake-v1") for arm in ("random", "tda2c", "a2c")}
    records = [
        *runs_at("CartPole-v1", "random", [75.0] * 6),
        *runs_at("FrozenLake-v1", "random", [0.0] * 6),
        # a half and a quarter of the way from random actions to 475 and 0.7
        *runs_at("CartPole-v1", "tda2c", [275.0] * 4 + [1000.0] * 2),
        *runs_at("FrozenLake-v1", "tda2c", [0.175] * 4),
        *runs_at("CartPole-v1", "a2c", [75.0] * 6),
        *runs_at("FrozenLake-v1", "a2c", [0.7] * 6),
        # where an arm has no runs, there is no aggregate
        *runs_at("Pendulum-v1", "a2c", [-200.0] * 6),
    ]
    found = analysed(records, planned | {("Pendulum-v1", "a2c"): 6})
    assert found.aggregated == ("CartPole-v1", "FrozenLake-v1")
    tda2c, a2c = found.aggregates
    # as many runs of each, the first: four
    assert (tda2c.n_runs, tda2c.area.value) == (8, pytest.approx(0.375))
    assert (a2c.n_runs, a2c.area.value) == (12, pytest.approx(0.5))
    share = dict(zip(tda2c.profile.at.round(2), tda2c.profile.value, strict=True))
    assert (share[0.24], share[0.26], share[0.49], share[0.51]) == (1.0, 0.5, 0.5, 0.0)


def test_ablations(found: Findings, report: Path) -> None:
    ablations = {ablation.arm: ablation for ablation in on(found, "CartPole-v1").ablations}
    assert {arm: ablation.verdict for arm, ablation in ablations.items()} == {
        "tda2c-tanh": Verdict.BETTER,
        "tda2c-n-steps-1": Verdict.WORSE,
        "tda2c-truncation": Verdict.OPEN,
    }
    assert ablations["tda2c-tanh"].difference.value == pytest.approx(60.0)
    assert "| `tda2c-n-steps-1` | intervals of 1 step, not 5 | 6, 6 | −60.0 [" in (report / "benchmarks.md").read_text()


@pytest.mark.parametrize(
    ("at_40k", "at_100k", "n_runs", "reached"),
    [
        (476.0, 496.0, N_RUNS, (True, True)),
        (474.0, 496.0, N_RUNS, (True, False)),
        (476.0, 494.0, N_RUNS, (False, True)),
        (476.0, 496.0, N_RUNS - 1, (None, None)),
    ],
)
def test_the_goals_on_cartpole(at_40k: float, at_100k: float, n_runs: int, reached: tuple[bool, bool]) -> None:
    # (36,000, 40,000] and (90,000, 100,000]: everything else is 0
    returns = [0.0] * 72 + [at_40k] * 8 + [0.0] * 100 + [at_100k] * 20
    found = analysed([run_of("CartPole-v1", "tda2c-tuned", seed, returns) for seed in range(n_runs)])
    checks = [check for check in found.checks if "final score" in check.goal]
    assert tuple(check.reached for check in checks) == reached
    assert f"IQM {at_100k} [{at_100k}, {at_100k}] of {n_runs} runs" == checks[0].found
    assert list(CARTPOLE_GOALS) == [100_000, 40_000]


def test_the_goals_of_comparison(found: Findings) -> None:
    better, not_beaten = found.checks[:2]
    assert better.reached is False
    assert better.found.startswith("Acrobot-v1 against `a2c-zoo`: no difference shown; LunarLander-v3 against `a2c`:")
    assert not_beaten.reached is False
    assert not_beaten.found == "worse than `a2c-zoo` on Pendulum-v1"
    cartpole = [record for record in benchmark() if record.environment == "CartPole-v1"]
    better, not_beaten = analysed(cartpole).checks[:2]
    assert better.reached is None
    assert not_beaten.reached is None
    assert not_beaten.found.startswith("not worse in any of 3 comparisons (14 planned)")


def test_runs_that_are_no_part_of_the_plan_are_left_out() -> None:
    short = dataclasses.replace(run_of("CartPole-v1", "a2c", 7, [1.0]), n_steps=2_000)
    empty = dataclasses.replace(
        run_of("CartPole-v1", "a2c", 8, [0.0]),
        episode_ends=np.array([], int),
        episode_returns=np.array([]),
        episode_lengths=np.array([], int),
    )
    unknown = run_of("CartPole-v1", "dreamer", 0, [500.0])
    beyond = run_of("CartPole-v1", "a2c", N_RUNS, [500.0])
    found = analysed([*runs_at("CartPole-v1", "a2c", [100.0] * 2), short, empty, unknown, beyond])
    assert found.excluded == (
        "`CartPole-v1`, `a2c`, seed 7: 2,000 steps, not the 100,000 planned",
        "`CartPole-v1`, `a2c`, seed 8: no episode ended",
        "`CartPole-v1`, `dreamer`, seed 0: not planned",
        f"`CartPole-v1`, `a2c`, seed {N_RUNS}: not one of the {N_RUNS} seeds planned",
    )
    assert [(result.arm, result.n_runs) for result in found.environments[0].results] == [("a2c", 2)]
    assert found.excluded[0] in pages.markdown(found, [])


def test_runs_of_one_arm_have_the_same_settings() -> None:
    runs = runs_at("CartPole-v1", "a2c", [100.0, 100.0])
    runs[1] = dataclasses.replace(runs[1], settings={"algorithm": "another"})
    with pytest.raises(ValueError, match="CartPole-v1, a2c: the runs of seeds 0 and 1 differ in their settings"):
        analysed(runs)


def test_the_settings_and_conditions_are_those_of_the_records(report: Path) -> None:
    page = (report / "benchmarks.md").read_text()
    assert '- `a2c-td0`: `{"algorithm": "some", "arguments": {"gamma": 0.9}}`' in page
    assert f"| commit | c0ffee | {len(benchmark())} |" in page
    assert f"| versions | torch 2.0 | {len(benchmark())} |" in page
    hours = sum(record.seconds for record in benchmark()) / 3600
    assert f"would have taken {hours:.3g} hours" in page
    assert "gpu" not in page[page.index("## Conditions") :]


def test_the_same_records_give_the_same_files(report: Path, tmp_path: Path) -> None:
    pages.write(analysed(benchmark()[::-1]), tmp_path)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert written == {path.relative_to(report): path.read_bytes() for path in report.rglob("*.*")}


def test_runs_elsewhere_change_no_figure(found: Findings) -> None:
    alone = analysed([record for record in benchmark() if record.environment == "Acrobot-v1"])
    assert on(alone, "Acrobot-v1").comparisons == on(found, "Acrobot-v1").comparisons
    assert on(alone, "Acrobot-v1").results == on(found, "Acrobot-v1").results


def test_each_figure_is_there_twice_and_shown_once(report: Path) -> None:
    names = {path.stem for path in (report / pages.FIGURES).iterdir()}
    assert names == {
        "improvement-tda2c-tuned",
        "improvement-tda2c",
        "profiles",
        "throughput",
        "ablation-CartPole-v1",
        *(f"curves-{environment}" for environment in LEVELS),
    }
    assert {path.name for path in (report / pages.FIGURES).iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("svg", "png")
    }
    shown = re.findall(r"!\[[^]]+\]\(figures/benchmarks/(.+)\.svg\)", (report / "benchmarks.md").read_text())
    assert sorted(shown) == sorted(names)


def test_outdated_figures_go(tmp_path: Path) -> None:
    outdated = tmp_path / pages.FIGURES / "curves-Chess.svg"
    outdated.parent.mkdir(parents=True)
    outdated.touch()
    pages.write(analysed(runs_at("CartPole-v1", "a2c", [1.0])), tmp_path)
    assert not outdated.exists()


def test_the_plan_is_that_of_the_suites() -> None:
    planned = plan()
    assert planned["CartPole-v1", "a2c"] == 20
    # in both suites, counted once
    assert planned["Acrobot-v1", "tda2c"] == 10
    assert ("Pendulum-v1", "tda2c-double-softmax") not in planned


@pytest.mark.parametrize(
    ("value", "written"),
    [(499.96, "500"), (99.87, "99.9"), (-99.87, "−99.9"), (0.12345, "0.123"), (12345.6, "12,346"), (-0.0001, "0.000")],
)
def test_numbers(value: float, written: str) -> None:
    assert pages.number(value) == written


def test_an_estimate_has_the_decimals_of_its_greatest_number() -> None:
    assert pages.estimate(Estimate(-9.5, -120.0, 4.25)) == "−10 [−120, 4]"


def with_settings_of_now(records: Sequence[Record]) -> Iterator[Record]:
    for record in records:
        settings = ARMS[record.arm].settings_on(ENVIRONMENTS[record.environment])
        assert settings is not None
        yield dataclasses.replace(record, settings=dataclasses.asdict(settings))


def test_the_command_writes_the_report(tmp_path: Path) -> None:
    for record in with_settings_of_now(runs_at("CartPole-v1", "a2c", [100.0, 101.0])):
        save(record, tmp_path / "runs")
    arguments = ["report", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "docs")]
    done = CliRunner().invoke(app, [*arguments, "--throughput", str(tmp_path / "none.json")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "docs/benchmarks.md").read_text()
    assert "| `a2c` | 2 of 20 |" in page
    assert "Not measured." in page
    assert (tmp_path / "docs/report.html").exists()


def test_the_command_refuses_runs_of_outdated_settings(tmp_path: Path) -> None:
    for record in runs_at("CartPole-v1", "a2c", [100.0, 101.0]):
        save(record, tmp_path / "runs")
    done = CliRunner().invoke(app, ["report", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "docs")])
    assert done.exit_code == 2
    assert "was run with other settings than a2c has now" in " ".join(re.sub("[│\n]", " ", done.output).split())
    assert not (tmp_path / "docs").exists()


def test_the_command_wants_records(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--runs", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no records" in " ".join(done.output.replace("│", "").split())


@pytest.mark.skipif(not RUNS.exists(), reason="no records are committed")
def test_the_committed_report_is_what_the_committed_records_give() -> None:
    found = analysed(list(load_all(RUNS)), plan())
    assert pages.markdown(found, list(draw_all(found))) == (ROOT / "docs/benchmarks.md").read_text()


@pytest.fixture
def page(report: Path) -> Iterator[tuple[Page, list[str]]]:
    """Open the report alone, without the files beside it, on a phone; with the addresses that it asks for."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 390, "height": 844})
        requests: list[str] = []
        shown.on("request", lambda request: requests.append(request.url))
        shown.goto((report / "report.html").as_uri(), wait_until="load")
        yield shown, requests
        browser.close()


def test_every_figure_is_rendered(page: tuple[Page, list[str]], report: Path) -> None:
    shown, _ = page
    sizes: list[dict[str, Any]] = shown.evaluate(
        "[...document.images].map(i => ({natural: i.naturalWidth, shown: i.getBoundingClientRect(), text: i.alt}))"
    )
    assert len(sizes) == len(list((report / pages.FIGURES).glob("*.svg")))
    for size in sizes:
        assert size["natural"] > 0
        assert 300 < size["shown"]["width"] <= 390
        assert size["shown"]["height"] > 100
        assert size["text"]


def test_no_request_leaves_the_page(page: tuple[Page, list[str]], report: Path) -> None:
    _, requests = page
    assert requests[0] == (report / "report.html").as_uri()
    assert all(url.startswith("data:") for url in requests[1:])
    assert "<script" not in (report / "report.html").read_text()


def test_nothing_is_wider_than_a_phone(page: tuple[Page, list[str]]) -> None:
    shown, _ = page
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    tables: list[list[float]] = shown.evaluate(
        "[...document.querySelectorAll('table')].map(t => [t.scrollWidth, t.parentElement.clientWidth])"
    )
    # wide tables there are, and each scrolls in a frame of its own
    assert max(width for width, _ in tables) > 390
    assert max(frame for _, frame in tables) <= 390


def test_every_link_has_its_target(page: tuple[Page, list[str]]) -> None:
    shown, _ = page
    links = shown.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert links
    for link in links:
        assert shown.locator(f"[id='{link.removeprefix('#')}']").count() == 1
