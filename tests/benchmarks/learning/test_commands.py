import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.learning.arms import ARMS
from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import Record, load_all, path_of, save
from benchmarks.learning.suites import SUITES
from benchmarks.learning.training import train
from tests.benchmarks.learning.faults import job
from tests.benchmarks.learning.report.made_up_runs import runs_at


def run(*arguments: str, exit_code: int = 0) -> str:
    """Run a command in this process and return what it writes to stdout, or to stderr if it should fail."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert done.exit_code == exit_code, done.output
    return done.stderr if exit_code == 2 else done.stdout


def save_with_current_settings(records: Sequence[Record], folder: Path) -> None:
    for record in records:
        settings = ARMS[record.arm].settings_on(ENVIRONMENTS[record.environment])
        assert settings is not None
        save(dataclasses.replace(record, settings=dataclasses.asdict(settings)), folder)


def test_list_counts_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(train(job()), tmp_path / SUITES["smoke"].runs)
    output = run("list")
    for name in (*SUITES, "tda2c-tanh", "MinAtar/Breakout-v1"):
        assert f"| {name} |" in output
    assert "| suite | description | records |" in output
    assert f"| smoke | {SUITES['smoke'].summary} | 1 of 6 |" in output
    assert f" 0 of {len(SUITES['main'].jobs())} |" in output
    assert "| CartPole-v1 | 100,000 | 20 | 475 |" in output


def test_scores_are_sorted_with_their_medians(tmp_path: Path) -> None:
    for seed in range(3):
        save(train(job(seed=seed)), tmp_path)
    scores = sorted(float(record.episode_returns[record.episode_ends > 180].mean()) for record in load_all(tmp_path))
    *_, row = run("scores", "smoke", "--runs", str(tmp_path)).splitlines()
    cells = row.strip("| ").split(" | ")
    assert cells[:2] == ["CartPole-v1", "random"]
    assert float(cells[2]) == pytest.approx(scores[1], rel=1e-3)
    assert [float(score) for score in cells[4].split(", ")] == pytest.approx(scores, rel=1e-3)
    areas = [float(area) for area in cells[5].split(", ")]
    assert areas == sorted(areas)
    assert float(cells[3]) == areas[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "chess"), "SUITE: 'chess' is not one of smoke, main, ablation, held-out, "),
        (("scores", "chess"), "SUITE: 'chess' is not one of smoke, main, ablation, held-out, "),
        (("tune", "Chess-v0"), "STUDY: 'Chess-v0' is not one of CartPole-v1, "),
        (("run", "smoke", "--arms", "a2c,dqn"), "--arms: 'dqn' is not one of a2c, random, tda2c"),
        (("run", "smoke", "--envs", "Go-v0"), "--envs: 'Go-v0' is not one of CartPole-v1"),
        (("run", "smoke", "--backend", "ray"), "'--backend'"),
        (("run", "smoke", "--backend", "dask"), "--scheduler: use --backend dask together with --scheduler ADDRESS"),
        (("run", "smoke", "--scheduler", "tcp://h:1"), "use --backend dask together with --scheduler ADDRESS"),
        (("run", "smoke", "--jobs", "0"), "'--jobs'"),
    ],
)
def test_invalid_arguments_are_rejected(arguments: tuple[str, ...], message: str) -> None:
    assert message in run(*arguments, exit_code=2)


def test_run_names_a_damaged_record(tmp_path: Path) -> None:
    path = path_of(tmp_path, "CartPole-v1", "random", 1)
    path.parent.mkdir(parents=True)
    path.write_text("half a rec")
    error = run("run", "smoke", "--runs", str(tmp_path), exit_code=2)
    assert error.startswith(f"Error: {path} is not the record of a run")
    assert path.read_text() == "half a rec"


def test_run_reports_failures(tmp_path: Path) -> None:
    (tmp_path / "CartPole-v1").mkdir()
    (tmp_path / "CartPole-v1/random").write_text("a file in place of the folder")
    output = run("run", "smoke", "--arms", "random", "--seeds", "1", "--runs", str(tmp_path), exit_code=1)
    assert "CartPole-v1 random 0 failed\nFileExistsError" in output
    assert "1 runs failed: CartPole-v1 random 0\nRun the same command again" in output


def test_report_writes_the_pages(tmp_path: Path) -> None:
    save_with_current_settings(runs_at("CartPole-v1", "a2c", [100.0, 101.0]), tmp_path / "runs")
    run("report", "--results", str(tmp_path), "--output", str(tmp_path / "docs"))
    page = (tmp_path / "docs/benchmark_details.md").read_text()
    assert "| A2C | 2 of 20 |" in page
    assert "Not measured." in page
    assert (tmp_path / "docs/report.html").exists()


def test_report_rejects_runs_with_outdated_settings(tmp_path: Path) -> None:
    for record in runs_at("CartPole-v1", "a2c", [100.0, 101.0]):
        save(record, tmp_path / "runs")
    error = run("report", "--results", str(tmp_path), "--output", str(tmp_path / "docs"), exit_code=2)
    assert "was run with other settings than a2c has now" in " ".join(re.sub("[│\n]", " ", error).split())
    assert not (tmp_path / "docs").exists()


def test_report_requires_records(tmp_path: Path) -> None:
    error = run("report", "--results", str(tmp_path), exit_code=2)
    assert "has no records: train a suite" in " ".join(error.replace("│", "").split())
