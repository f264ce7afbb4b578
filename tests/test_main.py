import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C
from sb3_a2c_td.__main__ import main


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command_line: str) -> None:
    main(command_line.split())


def test_prints_episodes_evaluation_and_file(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    evaluated = []

    def evaluate(model, env, **kwargs):
        evaluated.append((model, env, kwargs))
        return evaluate_policy(model, env, n_eval_episodes=2)

    monkeypatch.setattr("sb3_a2c_td.__main__.evaluate_policy", evaluate)
    run("--timesteps 200 --seed 1 --device cpu")
    out = capsys.readouterr().out
    episodes = re.findall(r"^EP(\d+) EpisodeReward=(\d+\.\d)$", out, re.MULTILINE)
    assert [int(number) for number, _ in episodes] == list(range(len(episodes)))
    assert 4 < len(episodes) <= 25
    assert sum(float(reward) for _, reward in episodes) <= 200  # a CartPole's return is its number of steps
    assert "200/200" in out
    (model, env, kwargs), *more = evaluated
    assert not more
    assert kwargs == {"n_eval_episodes": 20}
    assert env is not model.get_env()
    assert re.search(r"^Mean return of 20 evaluation episodes: \d+\.\d\d ± \d+\.\d\d$", out, re.MULTILINE)
    assert out.rstrip().endswith("Saved to tda2c_CartPole-v1.zip")


def test_the_flags_reach_the_model() -> None:
    run(
        "--env Pendulum-v1 --gamma 0.9 --update_interval 3 --actor_lr 0.01 --critic_lr 0.02 --timesteps 30 --n_envs 2 "
        "--seed 5 --device cpu --save models/pendulum --quiet"
    )
    model = TDA2C.load("models/pendulum.zip", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.9, 3, 0.01, 0.02)
    assert (model.num_timesteps, model.n_envs, model.seed) == (30, 2, 5)


def test_dashes_are_accepted_and_the_defaults_are_the_seeds() -> None:
    run("--update-interval 4 --actor-lr 0.01 --critic-lr 0.02 --n-envs 1 --timesteps 10 --quiet")
    model = TDA2C.load("tda2c_CartPole-v1", device="cpu")
    assert (model.n_steps, model.learning_rate, model.critic_learning_rate) == (4, 0.01, 0.02)
    run("--timesteps 10 --quiet --save defaults.zip")
    model = TDA2C.load("defaults", device="cpu")
    assert (model.gamma, model.n_steps, model.learning_rate, model.critic_learning_rate) == (0.99, 5, 5e-4, 1e-3)
    assert (model.reward_scale, model.n_envs, model.seed) == (0.01, 1, None)


def test_the_zip_is_called_a_zip() -> None:
    run("--timesteps 5 --quiet --save runs/model0.1")
    assert [path.name for path in Path("runs").iterdir()] == ["model0.1.zip"]


def test_an_earlier_model_is_not_overwritten() -> None:
    for _ in range(3):
        run("--timesteps 5 --quiet")
    names = sorted(path.name for path in Path().glob("*.zip"))
    assert names == ["tda2c_CartPole-v1.zip", "tda2c_CartPole-v1_2.zip", "tda2c_CartPole-v1_3.zip"]


def test_quiet_prints_the_result_only(capsys: pytest.CaptureFixture[str]) -> None:
    run("--timesteps 50 --quiet")
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--env Nope-v0", "Nope"),
        ("--env nomodule:Nope-v0", "nomodule"),
        ("--gamma 2", "--gamma: the value must be .* at most 1, got 2.0"),
        ("--gamma much", "--gamma: .*much"),
        ("--update-interval 0", "--update_interval.*: the value must be .* at least 1, got 0"),
        ("--actor_lr=-1", "--actor_lr.*: the value must be .* at least 0, got -1.0"),
        ("--critic-lr=nan", "--critic_lr.*: the value must be .* at least 0, got nan"),
        ("--timesteps 0", "--timesteps: the value must be .* at least 1, got 0"),
        ("--n-envs 0", "--n_envs.*: the value must be .* at least 1, got 0"),
        ("--device warp", "warp"),
        ("--save .", "--save .: no file can be written there"),
        ("--lr 1", "unrecognized arguments"),
    ],
)
def test_mistakes_end_with_a_message(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(arguments)
    assert re.search(f"error: .*{message}", capsys.readouterr().err)
    assert not list(Path().iterdir())


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "sb3_a2c_td", "--timesteps", "20", "--device", "cpu", "--save", "model.zip"]
    subprocess.run(command, check=True, capture_output=True)
    action, _ = TDA2C.load("model.zip", device="cpu").predict(np.zeros(4))
    assert action in (0, 1)
