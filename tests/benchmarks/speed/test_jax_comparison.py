import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.speed import jax_comparison
from benchmarks.speed.jax_programs import server
from benchmarks.speed.jax_programs.training import Training
from tests.benchmarks.speed import error_of, rows_of, run

FAKE_PYTHON = f"""#!{sys.executable}
import json, sys
program, *core = sys.argv[3:]
if program == "rejax_ppo":
    sys.exit("No module named rejax")
print(json.dumps({{"jax": "1.2.3"}}), flush=True)
seconds = 0.5 if core else 0.25
for line in sys.stdin:
    request = json.loads(line)
    answer = {{"n_steps": request["n_steps"], "seconds": seconds, "processor_seconds": 0.5, "mean_return": 123.0}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Python of an environment with a program in JAX that takes half a second on one core, without rejax."""
    monkeypatch.setattr(jax_comparison, "N_STEPS", {1: 500, 16: 800})
    path = tmp_path / "python"
    path.write_text(FAKE_PYTHON)
    path.chmod(0o755)
    return path


def compare(python: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    output = run("jax", "--python", str(python), "--rounds", "2", "--output", str(python.parent), *arguments)
    return output, json.loads((python.parent / "jax-cpu.json").read_text())


def test_programs_take_turns_with_tda2c(python: Path) -> None:
    output, saved = compare(python, "--n-envs", "1")
    ours, _, one_core, all_cores = saved["results"]
    assert [row[0] for row in rows_of(output)] == [
        "TDA2C, compiled",
        "TDA2C, compiled, no logs",
        "A2C in JAX, one core",
        "A2C in JAX",
    ]
    assert (ours["ratio"], one_core["speeds"], all_cores["speeds"]) == (1.0, [1_000] * 2, [2_000] * 2)
    assert (one_core["cores"], all_cores["cores"]) == ([1.0] * 2, [2.0] * 2)
    assert one_core["ratio"] == pytest.approx(sum(ours["speeds"]) / 2 / 1_000)
    assert all_cores["ratio"] == pytest.approx(one_core["ratio"] / 2)
    assert saved["programs"] == {"a2c": {"jax": "1.2.3"}, "rejax_ppo": {}}


def test_results_of_other_numbers_of_environments_stay(python: Path) -> None:
    compare(python)
    before = compare(python, "--n-envs", "1")[1]["results"]
    assert [result["n_envs"] for result in before] == [16] * 4 + [1] * 4
    after = compare(python, "--n-envs", "16")[1]["results"]
    assert after[:4] == before[4:]
    assert after[4]["speeds"] != before[0]["speeds"]


def test_results_of_another_machine_are_dropped(python: Path) -> None:
    saved = compare(python, "--n-envs", "1")[1]
    (python.parent / "jax-cpu.json").write_text(json.dumps({**saved, "cpu": "abacus"}))
    assert [result["n_envs"] for result in compare(python, "--n-envs", "16")[1]["results"]] == [16] * 4


def test_unknown_numbers_of_environments_are_rejected(python: Path) -> None:
    assert "3 is not one of 1, 16" in error_of("jax", "--python", str(python), "--n-envs", "3")


def test_server_compiles_once_and_answers_every_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled, seeds = [], []

    def make_training(n_envs: int, n_steps: int) -> Training:
        compiled.append((n_envs, n_steps))
        return Training(run=seeds.append, mean_return=lambda _: 10.0 * n_envs, n_steps=n_steps + 1)

    program = ModuleType("program")
    program.make_training = make_training  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.speed.jax_programs.program", program)
    monkeypatch.setitem(server.PACKAGES, "program", ("numpy",))
    requests = [{"n_envs": n_envs, "n_steps": 7, "seed": seed} for n_envs, seed in ((1, 3), (1, 4), (2, 5))]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(request) + "\n" for request in requests)))
    server.main("program")
    versions, *answers = map(json.loads, capsys.readouterr().out.splitlines())
    assert versions.keys() == {"numpy"}
    assert [(answer["n_steps"], answer["mean_return"]) for answer in answers] == [(8, 10.0), (8, 10.0), (8, 20.0)]
    assert compiled == [(1, 7), (2, 7)]
    assert seeds == [3, 4, 5]
