import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.monitor import load_results
from typer.testing import CliRunner

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import app
from tests.cli.processes import COMMAND, ENVIRONMENT

ROW = re.compile(r"^\| (\w+) +\| +([\d.]+) \| +([\d,]+) \| +([\d,]+) \|$", re.MULTILINE)
ALGORITHMS = {"TDA2C": TDA2C, "A2C": A2C}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_trains_both_and_shows_them() -> None:
    command = [*COMMAND, "compare", "CartPole-v1", "--timesteps", "1000", "--seed", "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    rows = ROW.findall(done.stdout)
    assert [(row[0], row[2]) for row in rows] == [("TDA2C", "1,000"), ("A2C", "1,000")]
    assert all(9 <= float(row[1]) <= 500 for row in rows)
    assert "One seed (3): an example, not a comparison." in done.stdout
    assert all(line.strip() for line in done.stdout.splitlines())
    reports = [f"{name:>6}: {steps:,} steps" for name in ALGORITHMS for steps in range(200, 1001, 200)]
    assert sorted(done.stderr.splitlines()) == sorted(reports)
    folder = Path("compare_CartPole-v1")
    for name, algorithm in ALGORITHMS.items():
        model = algorithm.load(folder / f"{name.lower()}.zip", device="cpu")
        assert (model.num_timesteps, model.seed) == (1000, 3)
        # the defaults, as one trains with them
        again = algorithm("MlpPolicy", "CartPole-v1", seed=3, device="cpu").learn(1000)
        for parameter, trained in model.policy.state_dict().items():
            assert th.equal(trained, again.policy.state_dict()[parameter]), parameter
    lengths = load_results(str(folder))["l"].sum()
    assert 1000 < lengths <= 2000
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


# its processes see Ctrl-C again, whatever they started with
UNMASKED = """
import signal
import gymnasium
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
gymnasium.register("Unmasked-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=500)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no process groups")
def test_ctrl_c_which_goes_to_all_processes_stops_both_however_often_and_keeps_what_there_is() -> None:
    Path("unmasked.py").write_text(UNMASKED)
    with _compare("unmasked:Unmasked-v0", timesteps=1_000_000) as process:
        log = Path("out/a2c.monitor.csv")
        _wait(process, lambda: log.exists() and log.read_text().count("\n") >= 10)
        os.killpg(process.pid, signal.SIGINT)
        _wait(process, lambda: "Stopping ..." in Path("err").read_text())
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=1_000_000)
    assert Path("out/learning_curve.png").exists()
    assert "Learning curves: out/learning_curve.png" in out


@pytest.mark.skipif(sys.platform == "win32", reason="has no process groups")
def test_ctrl_c_while_the_processes_start_stops_both() -> None:
    with _compare("CartPole-v1", timesteps=20_000) as process:
        _wait(process, Path("out").exists)
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    _check_stopped(process, out, before=20_000)


def _compare(env: str, timesteps: int) -> subprocess.Popen[str]:
    command = [*COMMAND, "compare", env, "--timesteps", str(timesteps), "--output", "out"]
    with Path("err").open("w") as err:
        return subprocess.Popen(command, stdout=PIPE, stderr=err, text=True, env=ENVIRONMENT, start_new_session=True)


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    while not until():
        assert process.poll() is None
        time.sleep(0.005)


def _check_stopped(process: subprocess.Popen[str], out: str, before: int) -> None:
    assert process.returncode == 130
    err = Path("err").read_text()
    assert err.count("Stopping ...") == 1
    assert "Traceback" not in err
    rows = ROW.findall(out)
    assert [row[0] for row in rows] == list(ALGORITHMS)
    for name, _, steps, _ in rows:
        model = ALGORITHMS[name].load(f"out/{name.lower()}.zip", device="cpu")
        assert model.num_timesteps == int(steps.replace(",", "")) < before
    assert "Models: out/tda2c.zip, out/a2c.zip" in out


def test_where_no_episode_ended_there_is_no_picture_not_even_an_earlier_one() -> None:
    Path("out").mkdir()
    Path("out/learning_curve.png").write_bytes(b"an earlier one")
    done = CliRunner().invoke(app, "compare MountainCar-v0 --timesteps 10 --output out")
    assert done.exit_code == 0, done.output
    assert "there are no learning curves: train for longer" in done.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("a2c.monitor.csv", "a2c.zip", "tda2c.monitor.csv", "tda2c.zip"),
    ]


def test_a_folder_that_another_command_makes_at_the_same_time_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("compare_MountainCar-v0").mkdir()
    # as if it were made right after a look
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "compare_MountainCar-v0" and exists(path))
    done = CliRunner().invoke(app, "compare MountainCar-v0 --timesteps 10")
    assert done.exit_code == 0, done.output
    assert not list(Path("compare_MountainCar-v0").iterdir())
    assert Path("compare_MountainCar-v0_2/tda2c.zip").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "Missing argument 'ENV'"),
        ("Nope-v0", "Nope"),
        ("Blackjack-v1", "observation_space=Tuple.* is not supported"),
        ("CartPole-v1 --timesteps 0", "--timesteps.*1"),
        ("CartPole-v1 --seed=-1", "--seed.*0"),
        (f"CartPole-v1 --output {__file__}", "--output .*test_compare.py: nothing can be written there"),
    ],
)
def test_mistakes_end_with_a_message(arguments: str, message: str) -> None:
    done = CliRunner().invoke(app, f"compare {arguments}")
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())
