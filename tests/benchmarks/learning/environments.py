"""Environments of the benchmark in which each environment has a ``Monitor``."""

from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.learning.environments import Environment


class WithMonitors(Environment):
    """Makes Gymnasium's environments, also where compiled ones exist."""

    def make_vec(self, n_envs: int, seed: int) -> VecEnv:
        return make_vec_env(self.make, n_envs, seed=seed)


def with_monitors(environment: Environment, **changes: Any) -> Environment:
    """Return an environment with monitors, and with other fields."""
    return WithMonitors(**{**vars(environment), **changes})
