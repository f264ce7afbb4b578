"""The script for a machine with a GPU, rehearsed without one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch as th

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.sh"


def run(
    *arguments: str | Path, python: str | Path = sys.executable, script: Path = SCRIPT
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": str(python)}
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)


def statuses(folder: Path) -> dict[str, int]:
    """Read the exit status of each part."""
    lines = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    return {line["part"]: line["status"] for line in lines}


@pytest.mark.slow
def test_tests_and_speed(tmp_path: Path) -> None:
    result = run("cpu", tmp_path, "versions", "graphs", "gpu-mlp-16")
    log = (tmp_path / "log").read_text()
    assert result.returncode == 0, log
    assert statuses(tmp_path) == {"versions": 0, "graphs": 0, "gpu-mlp-16": 0}
    assert '"torch": ' in log
    passed = re.findall(r"::(\S+) PASSED", log)
    assert len(passed) > 5
    assert all(re.search(r"graph|\[cuda|-cuda", name) for name in passed)
    assert '{"setting": "gpu-mlp-16", "arm": "A2C", "steps_per_second": ' in log
    measured = json.loads((tmp_path / "throughput-cpu.json").read_text())["results"]
    assert {result["arm"]: result["busy"] for result in measured} == {
        "A2C": 0.0,
        'TDA2C, engine="autograd"': 0.0,
        'TDA2C, engine="cuda"': 0.0,
        "the environments alone": None,
    }


def test_parts_that_fail_do_not_end_the_others(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *"-m pytest"*) exit 3;; *gpu-images-8*) kill -9 $$;; esac\n')
    python.chmod(0o755)
    assert run("cpu", tmp_path, python=python).returncode == 1
    settings = {f"gpu-{name}": 0 for name in ("mlp-16", "mlp-256", "mlp-4096", "images-64", "images-256")}
    assert statuses(tmp_path) == {
        "machine": 0,
        "versions": 0,
        "autograd": 3,
        "graphs": 3,
        "gpu-images-8": 137,
        **settings,
    }


@pytest.mark.parametrize("arguments", [(), ("tpu", "folder"), ("cpu", "folder", "gpu-mlp-17")])
def test_unknown_names_are_refused(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "benchmarks/gpu.sh cuda|cpu FOLDER [PART ...]\nparts: machine" in result.stderr


def test_a_machine_without_a_gpu_is_refused(tmp_path: Path) -> None:
    if th.cuda.is_available():
        pytest.skip("there is a GPU")
    result = run("cuda", tmp_path)
    assert result.returncode == 1
    assert "PyTorch finds no GPU" in result.stderr


def test_a_part_ends_at_its_limit(tmp_path: Path) -> None:
    script = tmp_path / "benchmarks" / "gpu.sh"
    script.parent.mkdir()
    script.write_text(SCRIPT.read_text().replace("slack=8", "slack=1").replace("part versions 20", "part versions 1"))
    script.chmod(0o755)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *benchmarks.conditions*) exec sleep 30;; esac\n')
    python.chmod(0o755)
    assert run("cpu", tmp_path, "versions", "graphs", python=python, script=script).returncode == 1
    assert statuses(tmp_path) == {"versions": 124, "graphs": 0}
