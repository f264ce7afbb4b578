"""Environments of the benchmark, with the steps and the number of runs of each arm."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import minigrid
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import registration
from sb3_a2c_td.compiled.making import ENVS, make_compiled_vec_env
from sb3_a2c_td.envs import minatar

INVALID_ACTIONS: dict[str, dict[str, Any]] = {
    "Discrete": {"dim": 20, "n_invalid_actions": 10},
    "MultiDiscrete": {"dims": [5, 5], "n_invalid_actions": 4},
    "MultiBinary": {"dims": 6, "n_invalid_actions": 4},
}
"""sb3-contrib's environments with action masks, and their sizes"""

gym.register_envs(minigrid)
for _name, _kwargs in INVALID_ACTIONS.items():
    gym.register(
        f"InvalidActions/{_name}-v0",
        f"sb3_contrib.common.envs:InvalidActionEnv{_name}",
        # its observations are one-hot and it ignores the seed of reset(), which the checker warns about
        disable_env_checker=True,
        kwargs=_kwargs,
    )


@dataclass(frozen=True)
class Environment:
    """An environment, and the length and number of runs on it.

    :param name: Gymnasium's id
    :param n_steps: environment steps of a run
    :param n_seeds: number of runs of each arm
    :param solved: return from which the environment counts as solved: its own ``reward_threshold``, if it has one
    :param policy: policy of all arms
    :param policy_kwargs: arguments of the policy, for all arms
    :param kwargs: arguments of ``gymnasium.make``
    :param is_continuous: whether actions are continuous
    """

    name: str
    n_steps: int
    n_seeds: int
    solved: float
    policy: str = "MlpPolicy"
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    is_continuous: bool = False

    def make(self) -> gym.Env[Any, Any]:
        """Make an environment. For ``MlpPolicy`` it returns vectors of floats: one-hot for numbers, flat for grids.

        ``MultiDiscrete`` observations stay as they are, since SB3's policies make them one-hot.
        """
        registration.register_for(self.name)
        env = gym.make(self.name, **self.kwargs)
        if self.policy == "CnnPolicy":
            return minatar.channels_first(env)
        if isinstance(env.observation_space, spaces.Dict):
            # MiniGrid: without the direction and the mission, which is always the same
            env = gym.wrappers.FilterObservation(env, ["image"])
        if len(env.observation_space.shape or ()) != 1:
            env = gym.wrappers.FlattenObservation(env)
        if not isinstance(env.observation_space, spaces.Box) or np.issubdtype(env.observation_space.dtype, np.floating):
            return env
        # SB3's rollout buffer takes the dtype of the space, and would round what VecNormalize returns
        return gym.wrappers.DtypeObservation(env, np.float32)

    def make_vec(self, n_envs: int, seed: int) -> VecEnv:
        """Make environments that record the return and length of each episode: compiled ones, where there are some.

        :param n_envs: how many
        :param seed: seed of the first
        """
        compiled = f"sb3_a2c_td/{self.name}"
        if compiled in ENVS:
            return make_compiled_vec_env(compiled, n_envs, seed)
        return make_vec_env(self.make, n_envs, seed=seed)


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("CartPole-v1", n_steps=100_000, n_seeds=20, solved=475.0),
        Environment("Acrobot-v1", n_steps=100_000, n_seeds=10, solved=-100.0),
        Environment("MountainCar-v0", n_steps=100_000, n_seeds=10, solved=-110.0),
        Environment("LunarLander-v3", n_steps=200_000, n_seeds=10, solved=200.0),
        # has no reward_threshold
        Environment("Pendulum-v1", n_steps=100_000, n_seeds=10, solved=-200.0, is_continuous=True),
        Environment("FrozenLake-v1", n_steps=100_000, n_seeds=10, solved=0.7),
        # has no reward_threshold either
        Environment(
            "MinAtar/Breakout-v1",
            n_steps=100_000,
            n_seeds=10,
            solved=10.0,
            policy="CnnPolicy",
            # no hidden layers after the CNN, as in SB3
            policy_kwargs={"features_extractor_class": "MinAtarCnn", "net_arch": []},
        ),
        Environment("Hopper-v5", n_steps=100_000, n_seeds=10, solved=3800.0, is_continuous=True),
    )
}
FLAT_BREAKOUT = replace(ENVIRONMENTS["MinAtar/Breakout-v1"], policy="MlpPolicy", policy_kwargs={})
DEVELOPMENT_ENVIRONMENTS = (
    *(replace(environment, n_seeds=10) for name, environment in ENVIRONMENTS.items() if name != FLAT_BREAKOUT.name),
    FLAT_BREAKOUT,
    Environment("InvertedPendulum-v5", n_steps=100_000, n_seeds=10, solved=950.0, is_continuous=True),
    # has neither a reward_threshold nor a time limit
    Environment("CliffWalking-v1", n_steps=100_000, n_seeds=10, solved=-15.0, kwargs={"max_episode_steps": 200}),
    Environment("LunarLanderContinuous-v3", n_steps=100_000, n_seeds=10, solved=200.0, is_continuous=True),
    Environment("HalfCheetah-v5", n_steps=100_000, n_seeds=10, solved=4800.0, is_continuous=True),
    Environment("MountainCarContinuous-v0", n_steps=100_000, n_seeds=10, solved=90.0, is_continuous=True),
)
"""environments of the study for one general setting; all arms have an ``MlpPolicy``"""
HELD_OUT_ENVIRONMENTS = (
    Environment("InvertedDoublePendulum-v5", n_steps=100_000, n_seeds=10, solved=9100.0, is_continuous=True),
    Environment("Reacher-v5", n_steps=100_000, n_seeds=10, solved=-3.75, is_continuous=True),
    # Walker2d, MinAtar and MiniGrid have no reward_threshold
    Environment("Walker2d-v5", n_steps=100_000, n_seeds=10, solved=4000.0, is_continuous=True),
    Environment("Pusher-v5", n_steps=100_000, n_seeds=10, solved=0.0, is_continuous=True),
    Environment("Taxi-v4", n_steps=100_000, n_seeds=10, solved=8.0),
    Environment("MinAtar/Asterix-v1", n_steps=100_000, n_seeds=10, solved=10.0),
    Environment("MinAtar/Freeway-v1", n_steps=100_000, n_seeds=10, solved=50.0),
    Environment("MinAtar/SpaceInvaders-v1", n_steps=100_000, n_seeds=10, solved=50.0),
    Environment("MiniGrid-DoorKey-5x5-v0", n_steps=100_000, n_seeds=10, solved=0.9),
)
"""environments that no study may use: the general setting is to be judged on them"""
PARTIALLY_OBSERVED_ENVIRONMENTS = (
    Environment("sb3_a2c_td/CartPoleWithoutVelocities-v0", n_steps=150_000, n_seeds=5, solved=400.0),
    Environment("sb3_a2c_td/TMaze-v0", n_steps=100_000, n_seeds=5, solved=0.9),
)
MASKED_ENVIRONMENTS = tuple(
    Environment(f"InvalidActions/{name}-v0", n_steps=10_000, n_seeds=5, solved=95.0) for name in INVALID_ACTIONS
)
"""sb3-contrib's environments, in which one of the allowed actions is right; they have no ``reward_threshold``"""
