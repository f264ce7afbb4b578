"""The documented command lines run, with fewer steps, and print what the pages show."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C
from tests.cli import running

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

PROGRAM = re.compile(r"(sb3-a2c-td|python -m sb3_a2c_td)(?= |$)")
TRAINING = ("train", "compare", "--env")
STEPS = ["--timesteps", "500"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def run(command: str) -> running.Done:
    words = shlex.split(PROGRAM.sub("", command, count=1), comments=True)
    if words[0] in TRAINING and "--help" not in words:
        words = [*_without_timesteps(words), *STEPS]
    return running.run(words)


def _without_timesteps(words: list[str]) -> list[str]:
    if "--timesteps" not in words:
        return words
    at = words.index("--timesteps")
    return words[:at] + words[at + 2 :]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_models() -> None:
    """Save the files that the pages assume."""
    env = VecNormalize(make_vec_env("Pendulum-v1"))
    TDA2C("MlpPolicy", env, seed=0, device="cpu").save("hopper")
    env.save("vecnormalize.pkl")
    TDA2C("MlpPolicy", "Pendulum-v1", seed=0, device="cpu").save("pendulum")
    TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save("cartpole")


@pytest.mark.parametrize("page", ["README.md", "docs/exporting.md"])
def test_command_lines_run(page: str) -> None:
    """The commands of a page run one after the other in one folder."""
    save_models()
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if PROGRAM.match(line)]
    assert len(commands) >= 2
    for command in commands:
        done = run(command)
        assert done.exit_code == 0, (command, done.output)


def test_examples_print_the_documented_output() -> None:
    """The examples run one after the other in one folder; numbers may differ."""
    sessions = blocks("docs/command_line.md", "console")
    examples = [example for block in sessions for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    assert len(examples) >= 5
    for example in examples:
        command, _, expected = example.partition("\n")
        done = run(command)
        assert done.exit_code == (2 if "Error: " in expected else 0), done.output
        output = done.stderr if "Error: " in expected else done.stdout
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(masked(expected), masked(output), flags), (command, output)


def masked(output: str) -> str:
    return re.sub(r"-{3,}", "---", re.sub(r"\d[\d,]*(\.\d+)?", "N", output))
