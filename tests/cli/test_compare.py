import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.monitor import load_results
from typer.testing import CliRunner

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import app, compare
from tests.cli.processes import COMMAND, ENVIRONMENT

ROW = re.compile(r"^\| (\w+) +\| +([\d.]+) \| +([\d,]+) \| +([\d,]+) \|$", re.MULTILINE)
ALGORITHMS = {"TDA2C": TDA2C, "A2C": A2C}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Without training


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def _handlers_are_restored() -> Iterator[None]:
    previous = {signum: signal.signal(signum, signal.SIG_DFL) for signum in SIGNALS}
    yield
    for signum, handler in previous.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("_handlers_are_restored")
@pytest.mark.parametrize(
    ("signals", "exit_code"),
    [([], 0), ([signal.SIGINT], 130), (SIGNALS, 130), ([signal.SIGTERM] * 2, 143), ([signal.SIGHUP], 129)],
)
def test_results_are_shown_even_if_a_signal_came(
    signals: list[int], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_both(env_id: str, timesteps: int, seed: int, folder: Path, stop: Any) -> list[compare.Run]:
        for signum in signals:
            signal.raise_signal(signum)
        assert stop.is_set() == bool(signals)
        assert (env_id, timesteps, seed) == ("CartPole-v1", 7_000, 3)
        log = f'#{{"t_start": 0.0, "env_id": "{env_id}"}}\nr,l,t\n20.0,20,0.5\n'
        (folder / "tda2c.monitor.csv").write_text(log)
        return [compare.Run("TDA2C", 7_000, 1, 2.0, 123.456), compare.Run("A2C", 6_000, 0, 4.0, 99.0)]

    monkeypatch.setattr("sb3_a2c_td.cli.compare._train_both", train_both)
    done = CliRunner().invoke(app, "compare CartPole-v1 --timesteps 7000 --seed 3")
    assert done.exit_code == exit_code, done.output
    assert ROW.findall(done.stdout) == [("TDA2C", "123.5", "7,000", "3,500"), ("A2C", "99.0", "6,000", "1,500")]
    assert all(line.strip() for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-3:] == [
        "One seed (3): an example, not a comparison.",
        "Models: compare_CartPole-v1/tda2c.zip, compare_CartPole-v1/a2c.zip",
        "Learning curves: compare_CartPole-v1/learning_curve.png",
    ]
    assert done.stderr == ("Stopping ...\n" if signals else "")
    assert Path("compare_CartPole-v1/learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_an_old_picture_is_removed_if_no_episode_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    Path("out/learning_curve.png").write_bytes(b"of an earlier comparison")
    runs = [compare.Run(name, 10, 0, 1.0, 9.0) for name in ALGORITHMS]
    monkeypatch.setattr("sb3_a2c_td.cli.compare._train_both", lambda *_: runs)
    done = CliRunner().invoke(app, "compare CartPole-v1 --output out")
    assert done.exit_code == 0, done.output
    assert "there are no learning curves: train for longer" in done.stdout
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "Missing argument 'ENV'"),
        ("Nope-v0", "Nope"),
        ("Blackjack-v1", "observation_space=Tuple.* is not supported"),
        ("CartPole-v1 --timesteps 0", "--timesteps.*1"),
        ("CartPole-v1 --seed=-1", "--seed.*0"),
        (f"CartPole-v1 --output {__file__}", "--output .*test_compare.py: this folder cannot be written to"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str) -> None:
    done = CliRunner().invoke(app, f"compare {arguments}")
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())


# With training, in processes


@pytest.mark.slow
def test_trains_both_with_their_defaults_and_saves_everything() -> None:
    command = [*COMMAND, "compare", "CartPole-v1", "--timesteps", "1000", "--seed", "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    rows = ROW.findall(done.stdout)
    assert [(row[0], row[2]) for row in rows] == [("TDA2C", "1,000"), ("A2C", "1,000")]
    assert all(9 <= float(row[1]) <= 500 for row in rows)
    reports = [f"{name:>6}: {steps:,} steps" for name in ALGORITHMS for steps in range(200, 1001, 200)]
    assert sorted(done.stderr.splitlines()) == sorted(reports)
    folder = Path("compare_CartPole-v1")
    for name, algorithm in ALGORITHMS.items():
        model = algorithm.load(folder / f"{name.lower()}.zip", device="cpu")
        assert (model.num_timesteps, model.seed) == (1000, 3)
        again = algorithm("MlpPolicy", "CartPole-v1", seed=3, device="cpu").learn(1000)
        for parameter, trained in model.policy.state_dict().items():
            assert th.equal(trained, again.policy.state_dict()[parameter]), parameter
    lengths = load_results(str(folder))["l"].sum()
    assert 1000 < lengths <= 2000
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


# the environment unblocks signals in its process
UNBLOCKING = """
import signal
import gymnasium
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
gymnasium.register("Unblocking-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=500)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_both_and_keeps_their_results(signum: int) -> None:
    Path("unblocking.py").write_text(UNBLOCKING)
    with _compare("unblocking:Unblocking-v0", timesteps=1_000_000) as process:
        log = Path("out/a2c.monitor.csv")
        _wait(process, lambda: log.exists() and log.read_text().count("\n") >= 10)
        os.killpg(process.pid, signum)
        _wait(process, lambda: "Stopping ..." in Path("err").read_text())
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=1_000_000, exit_code=128 + signum)
    assert Path("out/learning_curve.png").exists()
    assert "Learning curves: out/learning_curve.png" in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_processes_start_stops_both(signum: int) -> None:
    with _compare("CartPole-v1", timesteps=20_000) as process:
        _wait(process, Path("out").exists)
        time.sleep(0.01)
        os.killpg(process.pid, signum)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=20_000, exit_code=128 + signum)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_a_killed_process_ends_the_command() -> None:
    """The other one is ended, too, although it leaves signals to its parent."""
    with _compare("CartPole-v1", timesteps=100_000_000) as process:
        _wait(process, Path("out/a2c.monitor.csv").exists)
        _wait(process, Path("out/tda2c.monitor.csv").exists)
        trainings = [each for each in psutil.Process(process.pid).children() if "spawn_main" in str(each.cmdline())]
        trainings[0].kill()
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert "BrokenProcessPool" in Path("err").read_text()
    assert not any(training.is_running() for training in trainings)


def _compare(env: str, timesteps: int) -> subprocess.Popen[str]:
    command = [*COMMAND, "compare", env, "--timesteps", str(timesteps), "--output", "out"]
    with Path("err").open("w") as err:
        return subprocess.Popen(command, stdout=PIPE, stderr=err, text=True, env=ENVIRONMENT, start_new_session=True)


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    while not until():
        assert process.poll() is None
        time.sleep(0.005)


def _check_stopped(process: subprocess.Popen[str], out: str, before: int, exit_code: int) -> None:
    assert process.returncode == exit_code
    err = Path("err").read_text()
    assert err.count("Stopping ...") == 1
    assert "Traceback" not in err
    rows = ROW.findall(out)
    assert [row[0] for row in rows] == list(ALGORITHMS)
    for name, _, steps, _ in rows:
        model = ALGORITHMS[name].load(f"out/{name.lower()}.zip", device="cpu")
        assert model.num_timesteps == int(steps.replace(",", "")) < before
    assert "Models: out/tda2c.zip, out/a2c.zip" in out
