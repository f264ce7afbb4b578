"""Code blocks of README and the pages: the Python runs, and the commands exist."""

import functools
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch.distributed.run import get_args_parser

from sb3_a2c_td import TDA2C, cli
from tests.docs import PAGES, ROOT, name_of

MAX_STEPS = 3_000
"""longer trainings in the pages are cut to this, or to two rollouts if these are longer"""
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
SCRIPTS = {name: target.split(":")[0] for name, target in PYPROJECT["project"].get("scripts", {}).items()}


def blocks(page: Path, language: str) -> list[str]:
    tokens = MarkdownIt().parse(page.read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info.split()[:1] == [language]]


def commands() -> list[str]:
    """List the commands of the pages, except for RL Zoo's, which ``tests/zoo/test_scripts.py`` runs."""
    pages = [page for page in PAGES if page.name != "zoo.md"]
    scripts = [block for page in pages for block in blocks(page, "sh")]
    sessions = [block for page in pages for block in blocks(page, "console")]
    lines = [line for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    lines += [line.removeprefix("$ ") for session in sessions for line in session.splitlines() if line[:2] == "$ "]
    return list(dict.fromkeys(shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))))


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut trainings to ``MAX_STEPS`` steps or two rollouts."""
    for algorithm in (OnPolicyAlgorithm, TDA2C):
        monkeypatch.setattr(algorithm, "learn", briefly(algorithm.learn))


def briefly(learn: Callable[..., OnPolicyAlgorithm]) -> Callable[..., OnPolicyAlgorithm]:
    def learn_briefly(
        self: OnPolicyAlgorithm, total_timesteps: int = 100_000, *args: object, **kwargs: object
    ) -> OnPolicyAlgorithm:
        max_steps = max(MAX_STEPS, 2 * self.n_steps * self.n_envs)
        return learn(self, min(total_timesteps, max_steps), *args, **kwargs)

    return learn_briefly


# Weights & Biases changes its process, so tests/algorithms/test_logs.py runs the blocks of logging.md in another one;
# tests/algorithms/distributed starts the processes of scaling.md
TESTED_ELSEWHERE = ("logging.md", "scaling.md")
PYTHON_PAGES = [page for page in PAGES if blocks(page, "python") and page.name not in TESTED_ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
@pytest.mark.usefixtures("short_training")
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page one after another, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{name_of(page)}, block {number}", "exec"), namespace)


def test_python_blocks_compile() -> None:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "python"), start=1):
            compile(block, f"{name_of(page)}, block {number}", "exec")


def test_languages_of_blocks_are_known() -> None:
    """Blocks of ``text`` hold outputs, and those of ``yaml`` settings that ``tests/zoo/test_scripts.py`` uses."""
    for page in PAGES:
        fences = [token.info for token in MarkdownIt().parse(page.read_text()) if token.type == "fence"]
        languages = {info for info in fences if not info.startswith("{")}
        assert languages <= {"python", "sh", "console", "text", "yaml"}, page


def test_readme_has_blocks_of_python_and_commands() -> None:
    assert len(blocks(ROOT / "README.md", "python")) >= 1
    assert "make demo" in commands()


def is_slow(command: str) -> bool:
    """Check whether a command is one of RL Zoo's scripts, which take seconds to import."""
    return "sb3_a2c_td.zoo" in command


@pytest.mark.parametrize(
    "command", [pytest.param(command, marks=pytest.mark.slow if is_slow(command) else ()) for command in commands()]
)
def test_command_exists(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(shlex.split(command))


def check(words: list[str]) -> None:
    """Check that the program, subcommand, options and files of a command exist, without running it."""
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    program, arguments = words[0].removeprefix(".make-venv/bin/"), words[1:]
    match program:
        case "make":
            assert set(arguments) <= set(TARGETS)
        case "pip":
            check_installation(arguments)
        case "pytest":
            check_tests(arguments)
        case "torchrun":
            parsed = get_args_parser().parse_args(arguments)
            assert parsed.module
            check_module(parsed.training_script, parsed.training_script_args)
        case "python" if arguments[0] == "-m":
            check_module(arguments[1], arguments[2:])
        case "python":
            assert (ROOT / arguments[0]).is_file()
        case _ if "/" in program:
            assert os.access(ROOT / program, os.X_OK)
        case _:
            check_module(SCRIPTS.get(program, program), arguments)


def check_installation(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    for argument in arguments[1:]:
        if argument.startswith(("sb3-a2c-td", ".")):
            extras = re.findall(r"\w+", argument.partition("[")[2])
            assert set(extras) <= set(PYPROJECT["project"]["optional-dependencies"])
        elif argument.endswith(".txt"):
            assert (ROOT / argument).is_file()


def check_tests(arguments: list[str]) -> None:
    for argument in arguments:
        assert "/" not in argument or (ROOT / argument).exists()
    if "-m" in arguments:
        markers = [marker.split(":")[0] for marker in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]]
        assert arguments[arguments.index("-m") + 1] in markers


def check_module(name: str, arguments: list[str]) -> None:
    """Let this project's programs parse the arguments; for another one, look for the options in its ``--help``."""
    if name in ("sb3_a2c_td", SCRIPTS["sb3-a2c-td"]):
        touch_files(arguments)
        cli.app.parse_args(cli.with_command(arguments), exit_on_error=False)
        return
    is_package = importlib.util.find_spec(name).submodule_search_locations is not None
    runs_main = is_package and name not in SCRIPTS.values()
    module = importlib.import_module(f"{name}.__main__" if runs_main else name)
    if name == "benchmarks":
        parse(module.app, arguments)
        return
    options = [word for word in arguments if re.match("--?[a-z]", word)]
    subcommands = tuple(itertools.takewhile(lambda word: word not in options, arguments))
    for option in options:
        assert re.search(rf"(?<![\w-]){option.partition('=')[0]}(?![\w-])", help_of(name, subcommands)), option


def touch_files(arguments: list[str]) -> None:
    for argument in arguments:
        if re.fullmatch(r"\w[\w.-]*", argument):
            Path(argument if argument.endswith((".pkl", ".zip")) else f"{argument}.zip").touch()


def parse(app: typer.Typer, arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    for subcommand in getattr(command, "commands", {}).values():
        subcommand.callback = lambda **_: None
    command.main(arguments, standalone_mode=False)


@functools.cache
def help_of(module: str, subcommands: tuple[str, ...]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *subcommands, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
