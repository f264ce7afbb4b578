"""The scripts in ``docs/examples`` run as they are, and come to what their pages say."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import DOCS, ROOT

EXAMPLES = DOCS / "examples"
AT_LEAST = {
    # -500 where it never swings up
    "first_run": -150.0,
    # -28 where it never leaves its start
    "custom_env": -4.0,
    # 22 by random actions
    "vector_env": 100.0,
    # -1,200 by random actions
    "continuous_control": -800.0,
}
"""mean returns of the trained models"""


def test_every_example_is_tested_and_shown() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*AT_LEAST, "resume_after_a_kill"}
    page = (DOCS / "examples.md").read_text()
    assert set(re.findall(r"literalinclude\} examples/(\w+)\.py", page)) == names


@pytest.mark.parametrize("name", AT_LEAST)
def test_an_example_learns(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    mean = re.search(r"Mean return of \d+ episodes: (-?[\d.]+)", capsys.readouterr().out)
    assert mean is not None
    assert float(mean[1]) > AT_LEAST[name]


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "resume_after_a_kill.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True).stdout
    killed = re.search(r"saved were (\d+) of (\d+) steps", said)
    assert killed is not None
    assert 0 < int(killed[1]) < int(killed[2])
    assert said.endswith("the same weights as without a kill: True\n")
