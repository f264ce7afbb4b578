"""The scripts in ``docs/examples`` run as they are, and come to what their pages say."""

import os
import re
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
    "continuous_control": -500.0,
}
"""mean returns of the trained models"""


def output_of(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_shown() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*AT_LEAST, "resume_after_a_kill"}
    page = (DOCS / "examples.md").read_text()
    assert set(re.findall(r"literalinclude\} examples/(\w+)\.py", page)) == names


@pytest.mark.parametrize("name", AT_LEAST)
def test_an_example_learns(name: str, tmp_path: Path) -> None:
    mean = re.search(r"Mean return of \d+ episodes: (-?[\d.]+)", output_of(name, tmp_path))
    assert mean is not None
    assert float(mean[1]) > AT_LEAST[name]


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    said = output_of("resume_after_a_kill", tmp_path)
    killed = re.search(r"saved were (\d+) of (\d+) steps", said)
    assert killed is not None
    assert 0 < int(killed[1]) < int(killed[2])
    assert said.endswith("the same weights as without a kill: True\n")
