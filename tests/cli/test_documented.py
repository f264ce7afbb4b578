"""The command lines in the documentation run, and print what stands below them."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sb3_a2c_td.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = {"sb3-a2c-td": 1, "python": 3}
"""the words that the names of the program have"""


def test_examples_print_what_stands_below_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one folder, with fewer steps, and whatever the numbers are."""
    monkeypatch.chdir(tmp_path)
    examples = [example for block in BLOCKS for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    assert len(examples) >= 5
    for example in examples:
        command, _, expected = example.partition("\n")
        program, *words = shlex.split(re.sub(r"--timesteps \d+", "--timesteps 500", command), comments=True)
        done = CliRunner().invoke(app, words[PROGRAMS[program] - 1 :], prog_name="sb3-a2c-td")
        assert done.exit_code == (2 if "Error: " in expected else 0), done.output
        output = done.stderr if "Error: " in expected else done.stdout
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(masked(expected), masked(output), flags), (command, output)


def masked(output: str) -> str:
    return re.sub(r"-{3,}", "---", re.sub(r"\d[\d,]*(\.\d+)?", "N", output))
