import itertools
import re

from typer.testing import CliRunner

from benchmarks.__main__ import app


def run(command: str, *arguments: str) -> str:
    """Run a command that must succeed, and return its output."""
    done = CliRunner().invoke(app, [command, *arguments])
    assert done.exit_code == 0, done.exception
    return done.stdout


def error_of(command: str, *arguments: str) -> str:
    """Run a command with invalid arguments, and return its error message."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, *arguments])
    assert done.exit_code == 2
    return done.stderr


def rows_of(output: str) -> list[list[str]]:
    """Parse the rows of the first Markdown table, without its header."""
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), output.splitlines())
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [re.split(r" \| ", line.strip("| ")) for line in rows][2:]
