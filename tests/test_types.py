"""A user's program passes mypy, with precise types."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """\
import gymnasium as gym
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C, GymnasiumVecEnv, recommended, recommended_env, train_resumably
from sb3_a2c_td.schedules import robbins_monro_schedule

env = gym.make("CartPole-v1")
reveal_type(TDA2C("MlpPolicy", env))
model = TDA2C("MlpPolicy", env).learn()
reveal_type(model)
reveal_type(TDA2C("MlpPolicy", "CartPole-v1", learning_rate="lin_1e-3", critic_learning_rate=1e-3).learn(100))
reveal_type(TDA2C("MlpPolicy", gym.make_vec("CartPole-v1", 4), learning_rate=robbins_monro_schedule(1.0, 10.0, 0.6)))
reveal_type(TDA2C.load("model", env=env, critic_learning_rate="lin_1e-3"))
reveal_type(TDA2C.resume("model", env).learn(100, CheckpointCallback(10, "."), reset_num_timesteps=False))
reveal_type(train_resumably(lambda: TDA2C("MlpPolicy", env), 100, "run"))
reveal_type(TDA2C(env=recommended_env("CartPole-v1", seed=0), **recommended("CartPole-v1")).learn(100))


class Subclass(TDA2C):
    pass


reveal_type(Subclass("MlpPolicy", env).learn())
reveal_type(Subclass.load("model"))
reveal_type(GymnasiumVecEnv(gym.make_vec("CartPole-v1", 4)))
action, state = model.predict(env.reset()[0], deterministic=True)
mean, std = evaluate_policy(model, recommended_env("CartPole-v1"))
"""
REVEALED_TYPES = [
    *["sb3_a2c_td.algorithms.tda2c.TDA2C"] * 8,
    *["program.Subclass"] * 2,
    "sb3_a2c_td.vec_env.gymnasium_vec_env.GymnasiumVecEnv",
]


@pytest.mark.slow
def test_user_program_passes_mypy_with_precise_types(tmp_path: Path) -> None:
    """Use the strict settings and the cache of this project; ``make dist`` uses the settings of a user."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", tmp_path / "program.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert "Success: no issues found in 1 source file" in done.stdout, done.stdout + done.stderr
    assert re.findall(r'Revealed type is "(.*)"', done.stdout) == REVEALED_TYPES


def test_package_declares_that_it_is_typed() -> None:
    assert (ROOT / "sb3_a2c_td" / "py.typed").exists()
