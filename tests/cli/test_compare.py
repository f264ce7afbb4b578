import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from ctypes import c_bool
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
import torch as th
from PIL import Image
from stable_baselines3 import A2C
from stable_baselines3.common.monitor import load_results

from sb3_a2c_td import TDA2C, recommended, recommended_env
from sb3_a2c_td.cli import comparing
from tests.cli import running
from tests.cli.processes import COMMAND, ENVIRONMENT

MAX_SECONDS = 120
"""until a test fails"""
ROW = re.compile(r"^\| ([\w', 3]+?) +\| +([\d.]+) \| +([\d., ]+) \| +([\d, to]+) \| +([\d,]+) \|$", re.MULTILINE)
DEFAULT_ARMS = ("general", "reference", "a2c")
LABELS = [comparing.ARMS[name].label for name in DEFAULT_ARMS]
collect_step = TDA2C._collect_step
ALGORITHMS = {"tda2c": TDA2C, "tda2c_reference": TDA2C, "a2c": A2C}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Without training


def test_the_table_shows_that_trainings_were_stopped() -> None:
    runs = [comparing.Run("general", seed, steps, 1, 1.0, 9.0) for seed, steps in ((0, 6_000), (1, 1_200), (2, 6_000))]
    assert ROW.findall(comparing._table(runs))[0][3] == "1,200 to 6,000"


@pytest.mark.parametrize(("env_id", "in_compiled_code"), [("CartPole-v1", False), ("sb3_a2c_td/CartPole-v1", True)])
@pytest.mark.parametrize("arm", ["general", "a2c"])
def test_a_training_logs_episodes_and_reports_its_progress(
    env_id: str,
    in_compiled_code: bool,
    arm: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = []
    monkeypatch.setattr(TDA2C, "_collect_step", lambda *args: steps.append(args) or collect_step(*args))
    monkeypatch.setattr(comparing, "_stop", c_bool(False), raising=False)
    run = comparing._train(comparing.Comparison(env_id, {}, 1_000, (arm,), range(1)), arm, 0, Path())
    assert run.timesteps == 1_000
    if arm == "general":
        assert len(steps) < 50 if in_compiled_code else len(steps) == 1_000
    assert capsys.readouterr().err.splitlines() == [
        f"{comparing.ARMS[arm].label}, seed 0: {n:,} steps" for n in (200, 400, 600, 800, 1_000)
    ]
    log = load_results(run.file)
    assert 500 < log["l"].sum() <= 1_000
    assert len(log) == run.n_episodes
    assert log["t"].is_monotonic_increasing
    assert log["t"].nunique() > len(log) / 2


def test_several_environments_report_their_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparing, "_stop", c_bool(False), raising=False)
    comparing._train(comparing.Comparison("MountainCar-v0", {}, 1_000, ("tuned",), range(1)), "tuned", 0, Path())
    assert recommended_env("MountainCar-v0").num_envs == 8
    assert capsys.readouterr().err.splitlines() == [
        f"TDA2C, tuned settings, seed 0: {n:,} steps" for n in (200, 400, 600, 800, 1_000)
    ]


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize(
    ("signals", "exit_code"),
    [([], 0), ([signal.SIGINT], 130), (SIGNALS, 130), ([signal.SIGTERM] * 2, 143), ([signal.SIGHUP], 129)],
)
def test_results_are_shown_even_if_a_signal_came(
    signals: list[int], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_all(comparison: comparing.Comparison, folder: Path, stop: Any) -> tuple[list[comparing.Run], int]:
        for signum in signals:
            signal.raise_signal(signum)
        assert stop.value == bool(signals)
        assert comparison == comparing.Comparison("CartPole-v1", {}, 7_000, DEFAULT_ARMS, range(3, 5))
        for name in ("tda2c_3", "tda2c_4"):
            log = '#{"t_start": 0.0, "env_id": "CartPole-v1"}\nr,l,t\n20.0,20,0.5\n'
            (folder / name).mkdir()
            (folder / name / "0.monitor.csv").write_text(log)
        TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(folder / "tda2c_3")
        return [
            comparing.Run("general", 3, 7_000, 1, 2.0, 123.456),
            comparing.Run("general", 4, 7_000, 1, 1.0, 100.0),
            comparing.Run("a2c", 3, 6_000, 0, 4.0, 99.0),
        ], 0

    monkeypatch.setattr("sb3_a2c_td.cli.comparing._train_all", train_all)
    done = running.run("compare CartPole-v1 --timesteps 7000 --seed 3 --seeds 2")
    assert done.exit_code == exit_code, done.output
    assert ROW.findall(done.stdout) == [
        ("TDA2C, general setting", "111.7", "123.5, 100.0", "7,000", "5,250"),
        ("SB3's A2C", "99.0", "99.0", "6,000", "1,500"),
    ]
    assert all(line.strip() for line in done.stdout.splitlines())
    *lines, episode, recorded = done.stdout.splitlines()
    assert lines[-4:] == [
        "A few seeds: an impression, not a benchmark.",
        "Models: compare_CartPole-v1/*.zip",
        "Learning curves: compare_CartPole-v1/learning_curves.png",
        "Best model: compare_CartPole-v1/tda2c_3.zip",
    ]
    steps = int(episode.split()[-2])
    with Image.open("compare_CartPole-v1/best.gif") as picture:
        assert 1 < picture.n_frames <= steps
    assert recorded == "Recorded in compare_CartPole-v1/best.gif"
    assert done.stderr == ("Stopping ...\n" if signals else "")
    assert Path("compare_CartPole-v1/learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_environment_that_cannot_be_shown_is_compared_without_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_all(comparison: comparing.Comparison, folder: Path, stop: Any) -> tuple[list[comparing.Run], int]:
        TDA2C("MlpPolicy", env_id, device="cpu").save(folder / "tda2c_0")
        return [comparing.Run("general", 0, 10, 0, 1.0, 9.0)], 0

    env_id = "sb3_a2c_td/Chain-v0"
    monkeypatch.setattr("sb3_a2c_td.cli.comparing._train_all", train_all)
    done = running.run(f"compare {env_id} --env-kwargs '{{observation: one_hot}}' --output out")
    assert done.exit_code == 0, done.output
    assert "Best model: out/tda2c_0.zip\nIt cannot be recorded: " in done.stdout
    assert os.listdir("out") == ["tda2c_0.zip"]


def test_an_old_picture_is_removed_if_no_episode_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    Path("out/learning_curves.png").write_bytes(b"of an earlier comparison")
    runs = [comparing.Run(arm, 0, 10, 0, 1.0, 9.0) for arm in DEFAULT_ARMS]
    monkeypatch.setattr("sb3_a2c_td.cli.comparing._train_all", lambda *_: (runs, 0))
    done = running.run("compare CartPole-v1 --output out")
    assert done.exit_code == 0, done.output
    assert "there are no learning curves: train for longer" in done.stdout
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--env requires an argument"),
        ("Nope-v0", "Nope"),
        ("Blackjack-v1", "observation_space=Tuple.* is not supported"),
        ("CartPole-v1 --timesteps 0", "--timesteps.*1"),
        ("CartPole-v1 --seed=-1", "--seed.*0"),
        ("CartPole-v1 --seeds 0", "--seeds.*1"),
        ("MountainCarContinuous-v0 --tuned", "no settings were tuned for MountainCarContinuous-v0"),
        ("CartPole-v1 --arms", "--arms"),
        (f"CartPole-v1 --output {__file__}", "--output .*test_compare.py: this folder cannot be written to"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str) -> None:
    done = running.run(f"compare {arguments}")
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())


# With training, in processes


@pytest.mark.slow
def test_trains_all_arms_and_saves_everything() -> None:
    folder = Path("compare_CartPole-v1")
    old_log = folder / "tda2c_4" / "1.monitor.csv"
    old_log.parent.mkdir(parents=True)
    old_log.write_text("of an earlier comparison")
    command = [*COMMAND, "compare", "CartPole-v1", "--timesteps", "1000", "--seed", "3", "--seeds", "2"]
    command += ["--output", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    rows = ROW.findall(done.stdout)
    assert [(row[0], row[3]) for row in rows] == [(label, "1,000") for label in LABELS]
    assert all(9 <= float(each) <= 500 for row in rows for each in row[2].split(", "))
    trainings = [f"{label}, seed {seed}" for label in LABELS for seed in (3, 4)]
    reports = [f"{training}: {steps:,} steps" for training in trainings for steps in range(200, 1001, 200)]
    assert sorted(done.stderr.splitlines()) == sorted(reports)
    assert not old_log.exists()
    default = {"policy": "MlpPolicy"}
    settings = {"tda2c": recommended(), "tda2c_reference": default, "a2c": default}
    for name, algorithm in ALGORITHMS.items():
        model = algorithm.load(folder / f"{name}_4.zip", device="cpu")
        assert (model.num_timesteps, model.seed) == (1000, 4)
        again = algorithm(env="CartPole-v1", seed=4, device="cpu", **settings[name]).learn(1000)
        for parameter, trained in model.policy.state_dict().items():
            assert th.equal(trained, again.policy.state_dict()[parameter]), parameter
    lengths = sum(load_results(str(logs))["l"].sum() for logs in folder.iterdir() if logs.is_dir())
    assert 4000 < lengths <= 6000
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


# the environment unblocks signals in its process
UNBLOCKING = """
import signal
import gymnasium
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
gymnasium.register("Unblocking-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=500)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_a_signal_to_all_processes_stops_all_and_keeps_their_results() -> None:
    Path("unblocking.py").write_text(UNBLOCKING)
    with _compare("unblocking:Unblocking-v0", timesteps=1_000_000) as process:
        log = Path("out/tda2c_0/0.monitor.csv")
        _wait(process, lambda: log.exists() and log.read_text().count("\n") >= 10)
        os.killpg(process.pid, signal.SIGTERM)
        _wait(process, lambda: "Stopping ..." in Path("err").read_text())
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=1_000_000, exit_code=128 + signal.SIGTERM)
    assert Path("out/learning_curves.png").exists()
    assert "Learning curves: out/learning_curves.png" in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_a_signal_while_the_processes_start_stops_all() -> None:
    with _compare("CartPole-v1", timesteps=20_000) as process:
        _wait(process, Path("out").exists)
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=20_000, exit_code=128 + signal.SIGINT)


FAILING = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class SeedError(Exception):
    # another process could not unpickle it
    def __init__(self, text, seed):
        super().__init__(f"{text} {seed}")

class FailingEnv(CartPoleEnv):
    def reset(self, *, seed=None, options=None):
        if seed == 1:
            raise SeedError("no seed", 1)
        return super().reset(seed=seed, options=options)

gymnasium.register("Failing-v0", FailingEnv, max_episode_steps=500)
"""


@pytest.mark.slow
def test_a_training_that_fails_leaves_the_results_of_the_others() -> None:
    Path("failing.py").write_text(FAILING)
    command = [*COMMAND, "compare", "failing:Failing-v0", "--arms", "general", "--seeds", "2", "--timesteps", "300"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1
    assert [row[:1] + row[3:4] for row in ROW.findall(done.stdout)] == [("TDA2C, general setting", "300")]
    assert "TDA2C, general setting, seed 1 failed:\n" in done.stderr
    assert "SeedError: no seed 1" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_a_killed_process_ends_the_command() -> None:
    """The others are ended, too, although they leave signals to their parent."""
    with _compare("CartPole-v1", timesteps=100_000_000) as process:
        _wait(process, Path("out/tda2c_0/0.monitor.csv").exists)
        _wait(process, Path("out/tda2c_reference_0/0.monitor.csv").exists)
        trainings = [each for each in psutil.Process(process.pid).children() if "spawn_main" in str(each.cmdline())]
        trainings[0].kill()
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert Path("err").read_text().count("BrokenProcessPool") == 1
    assert not any(training.is_running() for training in trainings)


def _compare(env: str, timesteps: int) -> subprocess.Popen[str]:
    command = [*COMMAND, "compare", env, "--timesteps", str(timesteps), "--output", "out"]
    with Path("err").open("w") as err:
        return subprocess.Popen(command, stdout=PIPE, stderr=err, text=True, env=ENVIRONMENT, start_new_session=True)


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    end = time.monotonic() + MAX_SECONDS
    while not until():
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.poll() is None
        time.sleep(0.005)


def _check_stopped(process: subprocess.Popen[str], out: str, before: int, exit_code: int) -> None:
    assert process.returncode == exit_code
    err = Path("err").read_text()
    assert err.count("Stopping ...") == 1
    assert "Traceback" not in err
    rows = ROW.findall(out)
    assert 1 <= len(rows) <= len(LABELS)
    files = {arm.label: arm.file for arm in comparing.ARMS.values()}
    for label, _, _, steps, _ in rows:
        name = files[label]
        models = [ALGORITHMS[name].load(zip, device="cpu") for zip in Path("out").glob(f"{name}_?.zip")]
        shown = [int(each.replace(",", "")) for each in steps.split(" to ")]
        trained = [model.num_timesteps for model in models]
        assert [min(trained), max(trained)] == [shown[0], shown[-1]]
        assert max(trained) < before
    assert "Models: out/*.zip" in out
