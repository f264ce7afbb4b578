"""The script for a machine with a GPU, rehearsed without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.sh"


def rehearse(folder: Path, *parts: str) -> tuple[int, dict[str, int]]:
    """Run parts of the script on the CPU; return its exit status, and that of each part."""
    command = ["env", f"PYTHON={sys.executable}", SCRIPT, "cpu", folder, *parts]
    status = subprocess.run(command, capture_output=True, check=False).returncode
    lines = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    return status, {line["part"]: line["status"] for line in lines}


@pytest.mark.slow
def test_tests_and_speed(tmp_path: Path) -> None:
    status, parts = rehearse(tmp_path, "versions", "tests", "gpu-mlp-16")
    assert (status, parts) == (0, {"versions": 0, "tests": 0, "gpu-mlp-16": 0})
    log = (tmp_path / "log").read_text()
    assert '"torch": ' in log
    assert " passed" in log
    measured = json.loads((tmp_path / "throughput-cpu.json").read_text())["results"]
    assert {result["arm"]: result["busy"] for result in measured} == {
        "A2C": 0.0,
        'TDA2C, engine="autograd"': 0.0,
        'TDA2C, engine="cuda"': 0.0,
        "the environments alone": None,
    }


@pytest.mark.slow
def test_a_part_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    (tmp_path / "throughput-cpu.json").write_text("not JSON")
    status, parts = rehearse(tmp_path, "gpu-mlp-16", "versions")
    assert status == 1
    assert parts == {"versions": 0, "gpu-mlp-16": 1}
