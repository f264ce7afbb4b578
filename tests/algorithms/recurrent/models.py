"""Models and environments for the tests of RecurrentTDA2C."""

from typing import Any

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import RecurrentTDA2C

SMALL = {"lstm_hidden_size": 8, "net_arch": [8]}
MAX_STEPS = 23
"""so short that CartPole's episodes end by termination and by truncation"""


def make_model(env: Any, policy: str = "MlpLstmPolicy", **kwargs: Any) -> RecurrentTDA2C:
    kwargs = {"seed": 0, "device": "cpu", "policy_kwargs": SMALL} | kwargs
    return RecurrentTDA2C(policy, env, **kwargs)


def make_cartpoles(n_envs: int = 3, **kwargs: Any) -> VecEnv:
    return make_vec_env("CartPole-v1", n_envs, seed=0, env_kwargs={"max_episode_steps": MAX_STEPS}, **kwargs)


def make_native_cartpoles() -> gym.vector.VectorEnv:
    """Make an environment with autoreset steps, which are no transitions."""
    return gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point", max_episode_steps=MAX_STEPS)
