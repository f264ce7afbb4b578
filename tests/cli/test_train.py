import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import outputs
from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.engines import compilation
from tests.algorithms.comparing import assert_same_parameters
from tests.cli.processes import COMMAND, ENVIRONMENT
from tests.cli.running import run

STOPPED = re.compile(r"\nStopped after ([\d,]+) steps. Saved to half.zip\n")
FILES = ["tda2c_CartPole-v1.options.yaml", "tda2c_CartPole-v1.zip"]
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def succeed(command_line: str) -> str:
    done = run(command_line)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_prints_episodes_evaluation_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = []

    def evaluate(model: Any, env: Any, n_episodes: int) -> Any:
        evaluated.append((model, env, n_episodes))
        return evaluate_policy(model, env, n_eval_episodes=2)

    monkeypatch.setattr("sb3_a2c_td.cli.training.evaluate", evaluate)
    out = succeed("--timesteps 200 --seed 1 --device cpu")
    *episodes, evaluation, saved = out.splitlines()
    matches = [re.fullmatch(r"EP(\d+) EpisodeReward=(\d+\.\d)", line) for line in episodes]
    assert [int(match[1]) for match in matches] == list(range(len(episodes)))
    assert 4 < len(episodes) <= 25
    # each step of CartPole has a reward of 1
    assert sum(float(match[2]) for match in matches) <= 200
    ((model, env, n_episodes),) = evaluated
    assert n_episodes == 20
    assert env is not model.get_env()
    assert re.fullmatch(r"Mean return of 20 evaluation episodes: \d+\.\d\d \+/- \d+\.\d\d", evaluation)
    assert saved == "Saved to tda2c_CartPole-v1.zip"


def test_compiled_environments_are_trained_in_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    n_python_steps = 0
    collect_step = TDA2C._collect_step

    def counted(*args: Any) -> bool:
        nonlocal n_python_steps
        n_python_steps += 1
        return collect_step(*args)

    monkeypatch.setattr(TDA2C, "_collect_step", counted)
    env_id = "sb3_a2c_td/CartPole-v1"
    out = succeed(f"--env {env_id} --n-envs 2 --timesteps 3000 --seed 1 --device cpu --save cartpole")
    assert n_python_steps < 0.1 * 1_500
    episodes = [line for line in out.splitlines() if line.startswith("EP")]
    model = TDA2C("MlpPolicy", make_compiled_vec_env(env_id, 2, seed=1), seed=1, device="cpu").learn(3_000)
    last = [f"EpisodeReward={episode['r']}" for episode in model.ep_info_buffer]
    assert len(episodes) >= len(last) > 50
    assert [line.split()[1] for line in episodes[-len(last) :]] == last
    assert [line.split()[0] for line in episodes] == [f"EP{number}" for number in range(len(episodes))]
    assert_same_parameters(model, TDA2C.load("cartpole", device="cpu"))


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_missing_gpu_is_reported_in_one_line(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = f"--device {device}: PyTorch finds no GPU, so the CPU is used\n"
    done = run(f"--timesteps 10 --device {device} --quiet --save model")
    assert (done.exit_code, done.stderr) == (0, line)
    assert run(f"evaluate model.zip --env CartPole-v1 --episodes 1 --device {device}").stderr == line


def test_prints_only_episodes_and_results_to_a_pipe() -> None:
    command = [*COMMAND, "--timesteps", "300", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stderr == ""
    assert all(line.startswith(("EP", "Mean return", "Saved to")) for line in done.stdout.split("\n") if line)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_shows_a_progress_bar_in_a_terminal() -> None:
    import pty

    terminal, end_of_process = pty.openpty()
    command = [*COMMAND, "--timesteps", "300", "--device", "cpu"]
    with subprocess.Popen(command, stdout=end_of_process, stderr=end_of_process, env=ENVIRONMENT) as process:
        os.close(end_of_process)
        out = b"".join(iter(lambda: read_or_end(terminal), b"")).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert "300/300" in out
    assert re.search(r"EP0 EpisodeReward=\d", out)


def read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:
        # Linux raises once the other end is closed
        return b""


@pytest.mark.parametrize(
    "command_line",
    [
        "--env CartPole-v1 --gamma 0.9 --update_interval 3 --actor_lr 0.01 --critic_lr 0.02 --n_envs 2",
        "train --env CartPole-v1 --gamma 0.9 --update-interval 3 --actor-lr 0.01 --critic-lr 0.02 --n-envs 2",
    ],
)
def test_the_flags_reach_the_model(command_line: str) -> None:
    succeed(f"{command_line} --timesteps 30 --seed 5 --device cpu --save models/cartpole --quiet")
    model = TDA2C.load("models/cartpole.zip", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.9, 3, 0.01, 0.02)
    assert (model.num_timesteps, model.n_envs, model.seed) == (30, 2, 5)


def test_the_defaults_are_those_of_the_reference() -> None:
    succeed("train --timesteps 10 --quiet --save defaults.zip")
    model = TDA2C.load("defaults", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.99, 5, 5e-4, 1e-3)
    assert (model.reward_scale, model.n_envs) == (0.01, 1)


def test_the_suffix_zip_is_added() -> None:
    succeed("--timesteps 5 --quiet --save runs/model0.1")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["model0.1.options.yaml", "model0.1.zip"]


def test_existing_models_are_not_overwritten() -> None:
    for _ in range(2):
        succeed("--timesteps 5 --quiet")
    assert sorted(path.name for path in Path().glob("*.zip")) == ["tda2c_CartPole-v1.zip", "tda2c_CartPole-v1_2.zip"]


@pytest.mark.slow
def test_two_trainings_at_the_same_time_save_to_different_files() -> None:
    commands = [[*COMMAND, "--timesteps", "50", "--seed", str(seed), "--quiet"] for seed in (1, 2)]
    processes = [subprocess.Popen(command, stdout=PIPE, text=True, env=ENVIRONMENT) for command in commands]
    printed = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
    assert sorted(printed) == ["Saved to tda2c_CartPole-v1.zip", "Saved to tda2c_CartPole-v1_2.zip"]
    for seed, line in zip((1, 2), printed, strict=True):
        assert TDA2C.load(line.removeprefix("Saved to "), device="cpu").seed == seed


def test_quiet_prints_the_results_only() -> None:
    done = run("--timesteps 50 --quiet")
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


@pytest.mark.parametrize(("flag", "is_printed"), [("", True), ("--quiet", False)])
def test_says_when_it_compiles(flag: str, is_printed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    train = TDA2C.train

    def train_with_compilation(model: TDA2C) -> None:
        compilation.begin()
        train(model)

    monkeypatch.setattr(TDA2C, "train", train_with_compilation)
    assert succeed(f"--timesteps 50 {flag}").count(compilation.NOTICE) == is_printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--env Nope-v0", "Nope"),
        ("--env nomodule:Nope-v0", "nomodule"),
        ("--gamma 2", "gamma.* 1"),
        ("--gamma much", "--gamma: unable to convert"),
        ("--gamma nan", "gamma.* 1"),
        ("--update-interval 0", "n_steps must be an integer of at least 1"),
        ("--actor_lr=-1", "learning_rate"),
        ("--critic-lr=nan", "critic_learning_rate"),
        ("--timesteps 0", "--timesteps. Must be >= 1"),
        ("--seed=-1", "[Ss]eed"),
        ("--seed 99999999999", "seed"),
        ("--n-envs 0", "--n-envs. Must be >= 1"),
        ("--device warp", "warp"),
        ("--save .", "--save . is a folder"),
        (f"--save {__file__}/model.zip", "--save .*test_train.py: this folder cannot be written to"),
        ("--env Blackjack-v1", "observation_space=Tuple.* is not supported"),
        ("--ler 1", "Unknown option: --ler. Did you mean --lr?"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str) -> None:
    done = run(arguments)
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_the_model_and_prints_where(signum: int) -> None:
    assert interrupted([signum], seconds=0.0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.001, 0.05])
def test_further_signals_do_not_lose_the_model(seconds: float) -> None:
    assert interrupted([signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], seconds) > 0


def interrupted(signals: list[int], seconds: float) -> int:
    """Send signals to a training process, check what it prints, and return the steps of the saved model."""
    command = [*COMMAND, "--timesteps", "100000000", "--seed", "0", "--device", "cpu", "--save", "half.zip"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert next(process.stdout).startswith("EP0 ")
        for signum in signals:
            process.send_signal(signum)
            time.sleep(seconds)
        _, err = process.communicate(timeout=300)
    # if signals come together, Python handles that of the lowest number first
    assert process.returncode in {EXIT_CODES[signum] for signum in signals}
    n_steps = TDA2C.load("half.zip", device="cpu").num_timesteps
    stopped = STOPPED.fullmatch(err)
    assert stopped is not None, err
    assert stopped[1] == f"{n_steps:,}"
    assert sorted(path.name for path in Path().iterdir()) == ["half.options.yaml", "half.zip"]
    return n_steps


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("timeout") is None, reason="the program timeout is not installed")
def test_timeout_saves_the_model() -> None:
    """It sends SIGTERM twice."""
    command = ["timeout", "60", *COMMAND, "--timesteps", "100000000", "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    ) as process:
        assert next(process.stdout).startswith("EP0 ")
        process.terminate()
        _, err = process.communicate(timeout=300)
    assert err.endswith("Saved to tda2c_CartPole-v1.zip\n")
    assert TDA2C.load("tda2c_CartPole-v1.zip", device="cpu").num_timesteps > 0


@pytest.mark.parametrize("signum", EXIT_CODES)
def test_a_signal_during_training_ends_the_command_with_its_exit_code(
    signum: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = TDA2C.learn

    def interrupted_learn(model: TDA2C, *args: Any, **kwargs: Any) -> TDA2C:
        learn(model, 50)
        signal.raise_signal(signum)
        return model

    monkeypatch.setattr(TDA2C, "learn", interrupted_learn)
    done = run("--timesteps 100 --device cpu")
    assert (done.exit_code, done.stdout) == (EXIT_CODES[signum], "")
    assert done.stderr == "\nStopped after 50 steps. Saved to tda2c_CartPole-v1.zip\n"
    assert sorted(path.name for path in Path().iterdir()) == FILES
    assert TDA2C.load("tda2c_CartPole-v1.zip", device="cpu").num_timesteps == 50


@pytest.mark.parametrize("signum", EXIT_CODES)
def test_a_signal_before_training_leaves_no_file(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_a2c_td.cli.training.make_env", lambda *args, **kwargs: signal.raise_signal(signum))
    assert run("--timesteps 100 --device cpu").exit_code == EXIT_CODES[signum]
    assert not list(Path().iterdir())


def test_a_kill_before_the_first_save_leaves_no_zip() -> None:
    """It leaves a lock, which the next training takes over and removes."""
    pid = os.fork()
    if pid == 0:
        with outputs.new_file("tda2c_CartPole-v1", ".zip"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert [path.name for path in Path().iterdir()] == [".tda2c_CartPole-v1.zip.lock"]
    succeed("--timesteps 5 --quiet")
    assert sorted(path.name for path in Path().iterdir()) == FILES


@pytest.mark.parametrize("signum", EXIT_CODES)
def test_a_signal_during_the_last_save_does_not_lose_the_model(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save = TDA2C.save

    def interrupted_save(model: TDA2C, path: Path) -> None:
        monkeypatch.setattr(TDA2C, "save", save)
        signal.raise_signal(signum)

    monkeypatch.setattr(TDA2C, "save", interrupted_save)
    done = run("--timesteps 100 --device cpu --save half.zip")
    assert signal.getsignal(signum) is signal.SIG_IGN
    assert done.exit_code == EXIT_CODES[signum]
    assert "Stopped after 100 steps. Saved to half.zip" in done.stderr
    assert TDA2C.load("half.zip", device="cpu").num_timesteps == 100


@pytest.mark.usefixtures("_fails_late")
@pytest.mark.parametrize("signum", EXIT_CODES)
def test_a_signal_while_saving_after_an_error_is_ignored(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save = TDA2C.save

    def interrupted_save(model: TDA2C, path: Path) -> None:
        signal.raise_signal(signum)
        save(model, path)

    monkeypatch.setattr(TDA2C, "save", interrupted_save)
    done = run("--env FailsLate-v0 --timesteps 100 --device cpu --save half.zip")
    assert isinstance(done.exception, OSError)
    assert TDA2C.load("half.zip", device="cpu").num_timesteps == 8


@pytest.mark.parametrize("signum", EXIT_CODES)
def test_a_signal_during_evaluation_prints_where_the_model_is(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_a2c_td.cli.training.evaluate", lambda *args, **kwargs: signal.raise_signal(signum))
    done = run("--timesteps 5 --quiet --save model.zip")
    assert (done.exit_code, done.stdout) == (EXIT_CODES[signum], "Saved to model.zip\n")


class FailsLate(CartPoleEnv):
    """Raises in its eighth step."""

    n_steps = 0

    def step(self, action: Any) -> Any:
        self.n_steps += 1
        if self.n_steps == 8:
            raise OSError("out of order")
        return super().step(action)


@pytest.fixture
def _fails_late() -> Iterator[None]:
    gym.register("FailsLate-v0", FailsLate)
    yield
    del gym.registry["FailsLate-v0"]


@pytest.mark.usefixtures("_fails_late")
def test_an_error_of_the_environment_is_raised_after_saving() -> None:
    done = run("--env FailsLate-v0 --timesteps 100 --device cpu")
    assert isinstance(done.exception, OSError)
    assert "Saved to tda2c_FailsLate-v0.zip" in done.stderr
    assert TDA2C.load("tda2c_FailsLate-v0.zip", device="cpu").num_timesteps == 8


# Files


@pytest.mark.usefixtures("_fails_late")
@pytest.mark.parametrize("env", ["CartPole-v1", "FailsLate-v0"])
def test_no_file_stays_after_a_failed_save(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TDA2C, "save", disk_is_full)
    done = run(f"--env {env} --timesteps 10 --quiet --device cpu")
    assert isinstance(done.exception, OSError)
    assert "disk is full" in str(done.exception)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("content", [b"", b"a model"])
def test_a_failed_save_keeps_the_users_file(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model.zip").write_bytes(content)
    monkeypatch.setattr(TDA2C, "save", disk_is_full)
    done = run("--timesteps 10 --quiet --device cpu --save model.zip")
    assert isinstance(done.exception, OSError)
    assert Path("model.zip").read_bytes() == content


def disk_is_full(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "disk is full")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a disk that is full."""
    folder, save = Path("full").absolute(), TDA2C.save
    folder.mkdir()

    def save_elsewhere(model: TDA2C, path: Path) -> None:
        if folder in path.absolute().parents:
            disk_is_full()
        save(model, path)

    monkeypatch.setattr(TDA2C, "save", save_elsewhere)
    return folder


@pytest.mark.usefixtures("_fails_late")
@pytest.mark.parametrize("env", ["CartPole-v1", "FailsLate-v0"])
def test_a_model_is_saved_in_another_place_if_the_disk_is_full(env: str, full_disk: Path) -> None:
    Path("model.zip").write_bytes(b"the user's")
    done = run(f"--env {env} --timesteps 10 --device cpu --quiet --save {full_disk}/model")
    assert "disk is full. Saving in another place instead." in done.stderr
    saved_to = Path("model_2.zip").absolute()
    assert f"Saved to {saved_to}\n" in done.output
    assert done.exit_code == 1
    assert TDA2C.load(saved_to, device="cpu").num_timesteps == (10 if env == "CartPole-v1" else 8)
    assert Path("model.zip").read_bytes() == b"the user's"


def test_a_model_is_saved_at_home_or_with_the_temporary_files_if_this_folder_is_full(
    full_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(full_disk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run("--timesteps 10 --device cpu --quiet").exit_code == 1
    assert sorted(path.name for path in tmp_path.joinpath("home").iterdir()) == FILES
    monkeypatch.setenv("HOME", str(full_disk))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert run("--timesteps 10 --device cpu --quiet").exit_code == 1
    assert tmp_path.joinpath("temporary/tda2c_CartPole-v1.zip").exists()


@pytest.mark.parametrize("name", ["link.zip", f"{'long' * 60}.zip"])
def test_a_file_that_cannot_be_written_is_found_out_before_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("link.zip").symlink_to("/proc/model.zip")
    monkeypatch.setattr(TDA2C, "learn", None)
    done = run(f"--timesteps 10 --save {name}")
    assert done.exit_code == 2
    assert re.search(f"--save {name} cannot be written: .*use another file", done.stderr.replace("\n", " "))


def test_two_trainings_into_one_file_are_refused() -> None:
    with outputs.replaced_file(Path("model.zip"), "--save"):
        done = run("--timesteps 10 --save model")
    assert done.exit_code == 2
    assert re.search(rf"process {os.getpid()} on .* is training the model in this file; wait", done.stderr)


# Encodings


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "mod\\xe8le.zip"), ("utf-8", "modèle.zip")])
def test_results_are_printed_in_any_encoding(encoding: str, name: str) -> None:
    arguments = "--timesteps 50 --device cpu --quiet --save modèle"
    done = run(arguments, encoding)
    assert done.exit_code == 0, done.output
    assert re.fullmatch(rf"Mean return of .*: \S+ \+/- \S+\nSaved to {re.escape(name)}\n", done.stdout)
