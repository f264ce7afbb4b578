import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sb3_a2c_td import TDA2C, cli
from sb3_a2c_td.version import __version__
from tests.cli.processes import COMMAND, ENVIRONMENT

COMMANDS = sorted(get_command(cli.app).commands)


def test_help_lists_the_commands_and_the_default() -> None:
    done = CliRunner().invoke(cli.app, "--help")
    assert done.exit_code == 0
    listed = [line.split()[0] for line in done.stdout.split("Commands:\n")[1].splitlines() if line.strip()]
    assert sorted(listed) == COMMANDS
    assert {"train", "evaluate", "compare"} <= set(COMMANDS)
    assert "Without a command, train runs" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples(command: str) -> None:
    done = CliRunner().invoke(cli.app, f"{command} --help")
    assert done.exit_code == 0
    assert f"\n  Examples:\n    sb3-a2c-td {command}" in done.stdout


def test_an_unknown_command_is_an_error() -> None:
    done = CliRunner().invoke(cli.app, "evalate model.zip")
    assert done.exit_code == 2
    assert "No such command 'evalate'" in done.stderr


def test_help_without_a_command_is_that_of_train() -> None:
    done = CliRunner().invoke(cli.app, "--env CartPole-v1 --help")
    assert done.exit_code == 0
    assert "--update_interval" in done.stdout


def test_the_console_script_runs_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="sb3-a2c-td")
    assert script.load() is cli.app


def test_a_usage_error_prints_no_traceback_in_a_process(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--env", "Nope-v0"], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "Usage: python -m sb3_a2c_td train [OPTIONS]"
    assert "Traceback" not in done.stderr


def test_packages_of_single_commands_are_not_imported_at_once() -> None:
    code = "import sys, sb3_a2c_td.cli; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert not {"matplotlib", "pandas", "onnx", "onnxruntime", "safetensors"} & set(done.stdout.split())


def test_version_prints_the_version() -> None:
    done = CliRunner().invoke(cli.app, "--version")
    assert (done.exit_code, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize(
    "arguments", ["evaluate {} --env CartPole-v1 --episodes 1", "inspect {}", "export {} --to onnx"]
)
def test_results_are_printed_in_any_encoding(encoding: str, arguments: str, tmp_path: Path) -> None:
    """An ASCII terminal shows other characters of names as escape sequences."""
    path = tmp_path / "modèle.zip"
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").save(path)
    done = CliRunner(charset=encoding).invoke(cli.app, arguments.format(path))
    assert done.exit_code == 0, done.output
    shown = "mod\\xe8le" if encoding == "ascii" else "modèle"
    assert arguments.startswith("evaluate") or shown in done.stdout
    assert done.stdout.encode(encoding)
