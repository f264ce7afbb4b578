"""The scripts in ``docs/examples`` run unchanged and reach good returns."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import DOCS, ROOT

EXAMPLES = DOCS / "examples"
MIN_RETURNS = {
    # -500 for a policy that never swings up
    "first_run": -150.0,
    # -28 for a policy that never leaves the start
    "custom_env": -4.0,
    # 22 for random actions
    "vector_env": 100.0,
    # -1,200 for random actions
    "continuous_control": -800.0,
}
"""lower bounds of the trained models' mean returns"""


def test_every_example_is_tested_and_shown() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    # tests/docs/test_single_file.py tests the last one
    assert names == {*MIN_RETURNS, "resume_after_a_kill", "tda2c_single_file"}
    page = (DOCS / "examples.md").read_text()
    assert set(re.findall(r"literalinclude\} examples/(\w+)\.py", page)) == names


@pytest.mark.slow
@pytest.mark.parametrize("name", MIN_RETURNS)
def test_example_learns(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    mean = re.search(r"Mean return of \d+ episodes: (-?[\d.]+)", capsys.readouterr().out)
    assert mean is not None
    assert float(mean[1]) > MIN_RETURNS[name]


@pytest.mark.slow
def test_killed_training_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "resume_after_a_kill.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True).stdout
    killed = re.search(r"Killed after a save at (\d+) of (\d+) steps", output)
    assert killed is not None
    assert 0 < int(killed[1]) < int(killed[2])
    assert output.endswith("same weights as without a kill: True\n")
