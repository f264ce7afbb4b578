import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sb3_a2c_td import TDA2C, __main__, cli
from sb3_a2c_td.version import __version__
from tests.cli.processes import COMMAND, ENVIRONMENT
from tests.cli.running import run

COMMANDS = ("compare", "evaluate", "export", "inspect", "train", "watch", "zoo")


def test_help_lists_the_commands_and_the_default() -> None:
    for arguments in ("", "--help"):
        done = run(arguments)
        assert done.exit_code == 0
        assert all(f"│ {command} " in done.stdout for command in COMMANDS)
        assert "Options without a command are those of train" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples(command: str) -> None:
    done = run(f"{command} --help")
    assert done.exit_code == 0
    assert re.search(rf"\n +sb3-a2c-td {command}", done.stdout)


def test_options_without_a_command_are_those_of_train() -> None:
    assert cli.with_command(["--gamma", "0.9"]) == ["train", "--gamma", "0.9"]
    for option in ("--help", "-h", "--version", "--install-completion"):
        assert cli.with_command([option]) == [option]


def test_an_unknown_command_is_an_error() -> None:
    done = run("evalate model.zip")
    assert done.exit_code == 2
    assert 'Unknown command "evalate". Did you mean "evaluate"?' in done.stderr


def test_help_without_a_command_is_that_of_train() -> None:
    done = run("--env CartPole-v1 --help")
    assert done.exit_code == 0
    assert "--update-interval" in done.stdout


def test_the_console_script_runs_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="sb3-a2c-td")
    assert script.load() is __main__.main


@pytest.mark.parametrize(
    ("code", "missing", "extra"),
    [
        ("import sb3_a2c_td.__main__ as program; program.main()", "cyclopts", "cli"),
        ("import sb3_a2c_td.plotting.learning_curves", "pandas", "plots"),
        ("from sb3_a2c_td.cli import main; main(['compare', 'CartPole-v1'])", "matplotlib", "plots"),
    ],
)
def test_missing_extras_are_named(code: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode != 0
    assert f"needs it, pip install '.[{extra}]'" in done.stderr


def test_a_usage_error_prints_no_traceback_in_a_process(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--env", "Nope-v0"], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["", "train --help", "--gamma much"])
def test_help_and_errors_come_without_pytorch(arguments: str) -> None:
    """Importing it takes seconds."""
    code = (
        "import sys, sb3_a2c_td.cli\n"
        f"try: sb3_a2c_td.cli.main({arguments.split()})\n"
        "finally: print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    modules = set(done.stdout.split("MODULES")[1].split())
    assert "sb3_a2c_td" in modules
    assert not {"torch", "stable_baselines3", "matplotlib", "pandas", "onnx"} & modules


def test_version_prints_the_version() -> None:
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize(
    "arguments", ["evaluate {} --env CartPole-v1 --episodes 1", "inspect {}", "export {} --to onnx"]
)
def test_results_are_printed_in_any_encoding(encoding: str, arguments: str, tmp_path: Path) -> None:
    """An ASCII terminal shows other characters of names as escape sequences."""
    path = tmp_path / "modèle.zip"
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu").save(path)
    done = run(arguments.format(path), encoding)
    assert done.exit_code == 0, done.output
    shown = "mod\\xe8le" if encoding == "ascii" else "modèle"
    assert arguments.startswith("evaluate") or shown in done.stdout
    assert done.stdout.encode(encoding)
