"""Checks of the argument ``env``."""

import reprlib
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnvWrapper

SB3 = "stable_baselines3."
"""what the names of SB3's modules begin with"""


def check_env(env: Any) -> None:
    """Check that an argument is an environment, or several.

    :param env: the argument; not a name
    :raises ValueError: if it is something else, or if a wrapper of SB3 holds a ``gymnasium.vector`` environment
    """
    # environments of old versions of Gym derive from no class that is known here
    if isinstance(env, type) or not (isinstance(env, gym.Env) or hasattr(env, "observation_space")):
        raise ValueError(
            f"env={reprlib.repr(env)} is not an environment: pass one, its name, a VecEnv or a gymnasium.vector "
            "environment. Call a class or a function that makes one; make a DummyVecEnv from a list of such functions."
        )
    while isinstance(env, VecEnvWrapper):
        is_of_sb3, wrapper, env = type(env).__module__.startswith(SB3), type(env).__name__, env.venv
        # those of other packages may adapt it themselves
        if is_of_sb3 and isinstance(env, VectorEnv):
            raise ValueError(
                f"env: {wrapper} does not support the gymnasium.vector environment {env}; adapt it first: "
                f"{wrapper}(GymnasiumVecEnv(env))"
            )
