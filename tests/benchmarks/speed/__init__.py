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
    """Parse the rows of a Markdown table, without its header."""
    rows = [re.split(r" \| ", line.strip("| ")) for line in output.splitlines() if line.startswith("|")]
    return rows[2:]
