import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed import scaling
from tests.benchmarks.speed import error_of, rows_of, run

ROOT = Path(__file__).parents[3]
ARMS = ["A2C", 'TDA2C, engine="numpy"', 'TDA2C, engine="auto"']


def test_throughput_measures_every_arm(tmp_path: Path) -> None:
    output = run(
        "throughput", "--setting", "cartpole-1", "--rounds", "1", "--seconds", "0.05", "--output", str(tmp_path)
    )
    assert [row[1] for row in rows_of(output)] == [
        *ARMS,
        "TDA2C, compiled",
        "the environments alone",
        "the compiled environments alone",
    ]
    saved = json.loads((tmp_path / "throughput-cpu.json").read_text())
    assert saved["n_threads"] == 1
    assert saved["versions"].keys() >= {"torch", "stable-baselines3", "numba"}
    speeds = {result["arm"]: result["speeds"][0] for result in saved["results"]}
    for result in saved["results"]:
        assert result["ratio"] == pytest.approx(result["speed"] / speeds["A2C"])
        limit = "the compiled environments alone" if "compiled" in result["arm"] else "the environments alone"
        assert result["share"] == pytest.approx(result["speed"] / speeds[limit])
    assert (tmp_path / "throughput-cpu.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_many_seeds_compares_threads_and_processes(tmp_path: Path) -> None:
    arguments = ("--seeds", "2", "--steps", "500", "--rounds", "1", "--output", str(tmp_path))
    arms = ["one thread", "2 threads", "2 processes"]
    assert [row[:2] for row in rows_of(run("many-seeds", *arguments))] == [
        [logs, arm] for logs in ("every 100 rollouts", "none") for arm in arms
    ]
    for result in json.loads((tmp_path / "many-seeds.json").read_text())["results"]:
        seconds = {arm: result["seconds"][arm][0] for arm in arms}
        assert result["speedups"] == {arm: seconds["one thread"] / seconds[arm] for arm in arms}


def test_parts_of_the_breakdown_add_up(tmp_path: Path) -> None:
    output = run(
        "breakdown", "--setting", "cartpole-16", "--rounds", "1", "--seconds", "0.05", "--output", str(tmp_path)
    )
    rows = rows_of(output)
    assert [row[1] for row in rows] == ARMS
    for row in rows:
        *parts, total = (float(cell.replace(",", "")) for cell in row[2:])
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(total, abs=0.3)


@pytest.mark.slow
def test_arithmetic_counts_two_networks() -> None:
    megaflops = {row[0]: float(row[1]) for row in rows_of(run("arithmetic"))}
    assert megaflops["A2C"] < megaflops['TDA2C, engine="autograd"'] == megaflops['TDA2C, engine="auto"']


@pytest.mark.slow
def test_throughput_compares_with_the_fastest_a2c(tmp_path: Path) -> None:
    arguments = ("--setting", "cartpole-1024", "--rounds", "1", "--seconds", "0.01", "--output", str(tmp_path))
    rows = rows_of(run("throughput", *arguments))
    *a2c, ours, compiled, environments, _ = json.loads((tmp_path / "throughput-cpu.json").read_text())["results"]
    assert [arm["n_envs"] for arm in a2c] == [16, 64, 256, 1024]
    assert ours["n_envs"] == compiled["n_envs"] == environments["n_envs"] == 1024
    assert ours["ratio"] == pytest.approx(ours["speed"] / max(arm["speed"] for arm in a2c))
    assert max(float(row[4]) for row in rows[:-4]) == 1.0


@pytest.mark.slow
def test_throughput_compares_numbers_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "N_ENVS", (2, 3))
    output = run("throughput", "--ranks", "2", "--rounds", "1", "--seconds", "0.1", "--output", str(tmp_path))
    saved = json.loads((tmp_path / "scaling-cpu.json").read_text())["results"]
    *measured, model = saved
    assert [(m["n_envs"], m["ranks"]) for m in measured] == [(2, 1), (2, 2), (3, 1), (3, 2)]
    for (alone,), (both,) in ((m["speeds"], n["speeds"]) for m, n in zip(measured[::2], measured[1::2], strict=True)):
        assert both / alone / 2 in [pytest.approx(m["efficiency"]) for m in measured]
    assert [row[3] for row in rows_of(output)[::2]] == ["100.0%", "100.0%"]
    assert min(model["model"].values()) >= 0
    assert "Prediction for 64 machines" in output
    assert (tmp_path / "scaling-cpu.png").read_bytes().startswith(b"\x89PNG")


def test_adapter_prints_what_it_saves(tmp_path: Path) -> None:
    output = run("adapter", "--rounds", "1", "--output", str(tmp_path))
    (saved,) = json.loads((tmp_path / "adapter.json").read_text())["results"]
    assert f"{saved['microseconds_alone']:.1f} µs alone" in output


@pytest.mark.slow
def test_footprint_measures_memory(tmp_path: Path) -> None:
    rows = rows_of(run("footprint", "--rounds", "1", "--steps", "2000", "--output", str(tmp_path)))
    assert len(rows) == 4 + 10
    assert all(float(row[1]) > 0 for row in rows)


def test_tabular_measures_every_environment(tmp_path: Path) -> None:
    output = run("tabular", "--n-envs", "4", "--rounds", "2", "--seconds", "0.01", "--output", str(tmp_path))
    measured = json.loads((tmp_path / "tabular.json").read_text())["results"]
    assert len(measured) == 2 * 3 + 1
    for row, m in zip(rows_of(output), measured, strict=True):
        assert min(m["speeds"]) > 0
        assert (len(m["speeds"]), m["n_envs"]) == (2, 4)
        assert row[:2] == [m["env"], m["observation"]]
        assert float(row[2]) == pytest.approx(m["speed"] / 1e6, abs=0.051)


@pytest.mark.slow
def test_module_runs_as_a_script() -> None:
    output = subprocess.check_output([sys.executable, "-m", "benchmarks", "--help"], text=True, cwd=ROOT)
    for command in ("throughput", "tabular", "run", "report"):
        assert f" {command} " in output


@pytest.mark.parametrize("arguments", [("--setting", "chess"), ("--device", "abacus")])
def test_unknown_names_are_rejected(arguments: tuple[str, str]) -> None:
    assert f"'{arguments[1]}' is not one of" in error_of("throughput", *arguments)


def test_unknown_runs_of_the_soak_test_are_rejected() -> None:
    assert "'3 abaci' is not one of 1,024 native ones, 16 in" in error_of("soak", "--run", "3 abaci")


@pytest.mark.parametrize("ranks", ["0", "two", "1,"])
def test_invalid_ranks_are_rejected(ranks: str) -> None:
    assert f"'{ranks}' is not a list of positive integers" in error_of("throughput", "--ranks", ranks)


@pytest.mark.slow
def test_soak_measures_every_run(tmp_path: Path) -> None:
    arguments = ("--steps", "20000", "--seconds-between-saves", "0.2", "--output", str(tmp_path))
    rows = rows_of(run("soak", *arguments))
    assert [row[0] for row in rows] == ["1,024 native ones", "16 in DummyVecEnv", "8 in SubprocVecEnv", "16 compiled"]
    assert [int(row[1].replace(",", "")) for row in rows] == [20 * 1024, 20 * 1008, 4_000, 20 * 5_008]
    results = json.loads((tmp_path / "soak.json").read_text())["results"]
    assert len(results) == 80
    assert all(result["resident_megabytes"] > 50 and result["n_file_descriptors"] > 2 for result in results)
    assert [int(row[6]) for row in rows] == [results[i]["n_saves"] for i in (19, 39, 59, 79)]
    assert int(rows[2][6]) > 0
