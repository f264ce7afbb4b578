"""What mypy makes of a user's file."""

import re
import subprocess
import sys
from pathlib import Path

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


class Mine(TDA2C):
    pass


reveal_type(Mine("MlpPolicy", env).learn())
reveal_type(Mine.load("model"))
reveal_type(GymnasiumVecEnv(gym.make_vec("CartPole-v1", 4)))
action, state = model.predict(env.reset()[0], deterministic=True)
mean, std = evaluate_policy(model, recommended_env("CartPole-v1"))
"""
REVEALED = [*["td_a2c.TDA2C"] * 8, *["program.Mine"] * 2, "vec_env.GymnasiumVecEnv"]


def test_a_users_file_is_clean_and_keeps_its_types(tmp_path: Path) -> None:
    """With this project's settings, which are strict and share a cache; ``make dist`` takes a user's own."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", tmp_path / "program.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert "Success: no issues found in 1 source file" in done.stdout, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [name.removeprefix("sb3_a2c_td.") for name in revealed] == REVEALED


def test_others_type_checkers_may_look_in() -> None:
    assert (ROOT / "sb3_a2c_td" / "py.typed").exists()
