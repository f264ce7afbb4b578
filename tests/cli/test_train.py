import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3.common.evaluation import evaluate_policy
from typer.testing import CliRunner, Result

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import app
from tests.cli.processes import COMMAND, ENVIRONMENT


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command_line: str) -> Result:
    return CliRunner().invoke(app, command_line)


def succeed(command_line: str) -> str:
    done = run(command_line)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_prints_episodes_evaluation_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = []

    def evaluate(model, env, **kwargs):
        evaluated.append((model, env, kwargs))
        return evaluate_policy(model, env, n_eval_episodes=2)

    monkeypatch.setattr("sb3_a2c_td.cli.train.evaluate_policy", evaluate)
    out = succeed("--timesteps 200 --seed 1 --device cpu")
    *episodes, evaluation, saved = out.splitlines()
    matches = [re.fullmatch(r"EP(\d+) EpisodeReward=(\d+\.\d)", line) for line in episodes]
    assert [int(match[1]) for match in matches] == list(range(len(episodes)))
    assert 4 < len(episodes) <= 25
    assert sum(float(match[2]) for match in matches) <= 200  # a CartPole's return is its number of steps
    ((model, env, kwargs),) = evaluated
    assert kwargs == {"n_eval_episodes": 20}
    assert env is not model.get_env()
    assert re.fullmatch(r"Mean return of 20 evaluation episodes: \d+\.\d\d ± \d+\.\d\d", evaluation)
    assert saved == "Saved to tda2c_CartPole-v1.zip"


@pytest.mark.parametrize("command", ["", "train "])
def test_the_flags_reach_the_model(command: str) -> None:
    succeed(
        f"{command}--env Pendulum-v1 --gamma 0.9 --update_interval 3 --actor_lr 0.01 --critic_lr 0.02 --timesteps 30 "
        "--n_envs 2 --seed 5 --device cpu --save models/pendulum --quiet"
    )
    model = TDA2C.load("models/pendulum.zip", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.9, 3, 0.01, 0.02)
    assert (model.num_timesteps, model.n_envs, model.seed) == (30, 2, 5)


def test_dashes_are_accepted_and_the_defaults_are_the_seeds() -> None:
    succeed("--update-interval 4 --actor-lr 0.01 --critic-lr 0.02 --n-envs 1 --timesteps 10 --quiet")
    model = TDA2C.load("tda2c_CartPole-v1", device="cpu")
    assert (model.n_steps, model.learning_rate, model.critic_learning_rate) == (4, 0.01, 0.02)
    succeed("train --timesteps 10 --quiet --save defaults.zip")
    model = TDA2C.load("defaults", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.99, 5, 5e-4, 1e-3)
    assert (model.reward_scale, model.n_envs, model.seed) == (0.01, 1, None)


def test_the_zip_is_called_a_zip() -> None:
    succeed("--timesteps 5 --quiet --save runs/model0.1")
    assert [path.name for path in Path("runs").iterdir()] == ["model0.1.zip"]


def test_an_earlier_model_is_not_overwritten() -> None:
    for _ in range(3):
        succeed("--timesteps 5 --quiet")
    names = sorted(path.name for path in Path().glob("*.zip"))
    assert names == ["tda2c_CartPole-v1.zip", "tda2c_CartPole-v1_2.zip", "tda2c_CartPole-v1_3.zip"]


def test_quiet_prints_the_result_only() -> None:
    done = run("--timesteps 50 --quiet")
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--env Nope-v0", "Nope"),
        ("--env nomodule:Nope-v0", "nomodule"),
        ("--gamma 2", "gamma.* 1"),
        ("--gamma much", "'--gamma'"),
        ("--gamma nan", "gamma.* 1"),
        ("--update-interval 0", "--update_interval.*: .*1"),
        ("--actor_lr=-1", "--actor_lr.*: .*0"),
        ("--critic-lr=nan", "critic_l.* 0"),
        ("--timesteps 0", "--timesteps.*1"),
        ("--seed=-1", "--seed.*0"),
        ("--seed 99999999999", "--seed.*4294967295"),
        ("--n-envs 0", "--n_envs.*: .*1"),
        ("--device warp", "warp"),
        ("--save .", "--save . is a folder"),
        (f"--save {__file__}/model.zip", "--save .*test_train.py: nothing can be written there"),
        ("--env Blackjack-v1", "observation_space=Tuple.* is not supported"),
        ("--lr 1", "No such option: --lr"),
    ],
)
def test_mistakes_end_with_a_message(arguments: str, message: str) -> None:
    done = run(arguments)
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())


def test_ctrl_c_saves_what_there_is_and_says_where() -> None:
    command = [*COMMAND, "--timesteps", "100000000", "--seed", "0", "--device", "cpu", "--save", "half.zip"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert next(process.stdout).startswith("EP0 ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    steps = int(re.fullmatch(r"\nStopped after ([\d,]+) steps. Saved to half.zip\n", err)[1].replace(",", ""))
    assert TDA2C.load("half.zip", device="cpu").num_timesteps == steps > 0


@pytest.mark.parametrize("n_milliseconds", [1, 10, 20, 50])
def test_ctrl_c_again_and_again_does_not_lose_the_model(n_milliseconds: int) -> None:
    command = [*COMMAND, "--timesteps", "100000000", "--device", "cpu", "--save", "half.zip"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert next(process.stdout).startswith("EP0 ")
        for _ in range(4):
            process.send_signal(signal.SIGINT)
            time.sleep(n_milliseconds / 1_000)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert re.fullmatch(r"\nStopped after [\d,]+ steps. Saved to half.zip\n", err)
    assert TDA2C.load("half.zip", device="cpu").num_timesteps > 0


def test_ctrl_c_in_the_last_save_does_not_lose_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    save = TDA2C.save

    def interrupted(model: TDA2C, path: Path) -> None:
        monkeypatch.setattr(TDA2C, "save", save)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TDA2C, "save", interrupted)
    try:
        done = run("--timesteps 100 --device cpu")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert done.exit_code == 130
    assert "Stopped after 100 steps. Saved to tda2c_CartPole-v1.zip" in done.stderr
    assert TDA2C.load("tda2c_CartPole-v1.zip", device="cpu").num_timesteps == 100


def test_trainings_side_by_side_save_to_files_of_their_own() -> None:
    commands = [[*COMMAND, "--timesteps", "50", "--seed", str(seed), "--quiet"] for seed in (1, 2)]
    processes = [subprocess.Popen(command, stdout=PIPE, text=True, env=ENVIRONMENT) for command in commands]
    said = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
    assert sorted(said) == ["Saved to tda2c_CartPole-v1.zip", "Saved to tda2c_CartPole-v1_2.zip"]
    for seed, line in zip((1, 2), said, strict=True):
        assert TDA2C.load(line.removeprefix("Saved to "), device="cpu").seed == seed


def test_a_fault_of_the_environment_saves_what_there_is_and_stays_an_error() -> None:
    gym.register("FailsLate-v0", FailsLate)
    try:
        done = run("--env FailsLate-v0 --timesteps 100 --device cpu")
    finally:
        del gym.registry["FailsLate-v0"]
    assert isinstance(done.exception, OSError)
    assert "Saved to tda2c_FailsLate-v0.zip" in done.stderr
    assert TDA2C.load("tda2c_FailsLate-v0.zip", device="cpu").num_timesteps == 8


class FailsLate(CartPoleEnv):
    """Raises in its eighth step."""

    n_steps = 0

    def step(self, action):
        self.n_steps += 1
        if self.n_steps == 8:
            raise OSError("out of order")
        return super().step(action)


def test_ctrl_c_while_the_model_is_evaluated_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sb3_a2c_td.cli.train.evaluate_policy", interrupted)
    done = run("--timesteps 5 --quiet --save model.zip")
    assert (done.exit_code, done.stdout) == (130, "Saved to model.zip\n")


def test_no_progress_bar_is_piped() -> None:
    command = [*COMMAND, "--timesteps", "300", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stderr == ""
    assert all(line.startswith(("EP", "Mean return", "Saved to")) for line in done.stdout.split("\n") if line)


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_terminal_gets_a_progress_bar() -> None:
    import pty

    terminal, its_end = pty.openpty()
    command = [*COMMAND, "--timesteps", "300", "--device", "cpu"]
    with subprocess.Popen(command, stdout=its_end, stderr=its_end, env=ENVIRONMENT) as process:
        os.close(its_end)
        out = b"".join(iter(lambda: read_or_end(terminal), b"")).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert "300/300" in out
    assert re.search(r"EP0 EpisodeReward=\d", out)


def read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:
        # Linux's way to say that the other end was closed
        return b""
