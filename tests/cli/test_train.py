import re
from pathlib import Path

import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from typer.testing import CliRunner, Result

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import app


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
        ("--gamma 2", "'--gamma': .*1"),
        ("--gamma much", "'--gamma': .*number"),
        ("--gamma nan", "'--gamma': .*1"),
        ("--update-interval 0", "--update_interval.*: .*1"),
        ("--actor_lr=-1", "--actor_lr.*: .*0"),
        ("--critic-lr=nan", "--critic_lr.*: .*0"),
        ("--timesteps 0", "'--timesteps': .*1"),
        ("--n-envs 0", "--n_envs.*: .*1"),
        ("--device warp", "warp"),
        ("--save .", "--save .: no file can be written there"),
        ("--lr 1", "No such option: --lr"),
    ],
)
def test_mistakes_end_with_a_message(arguments: str, message: str) -> None:
    done = run(arguments)
    assert done.exit_code == 2
    assert re.search(f"Error: .*{message}", done.stderr)
    assert not list(Path().iterdir())
