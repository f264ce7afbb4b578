"""The environments of the benchmark, and the steps and seeds that an arm gets on each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from sb3_a2c_td import minatar


@dataclass(frozen=True)
class Environment:
    """An environment and what is spent on it.

    :param name: Gymnasium's id
    :param n_steps: environment steps of a run
    :param n_seeds: runs of each arm
    :param solved: the return from which it counts as solved: the environment's own ``reward_threshold``, where it
        has one
    :param policy: the policy of every arm
    :param policy_kwargs: arguments of the policy, of every arm
    """

    name: str
    n_steps: int
    n_seeds: int
    solved: float
    policy: str = "MlpPolicy"
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> gym.Env[Any, Any]:
        """Make one."""
        if self.name.startswith(minatar.PREFIX):
            minatar.register()
            return minatar.channels_first(gym.make(self.name))
        env = gym.make(self.name)
        if isinstance(env.observation_space, spaces.Discrete):
            # one-hot, as SB3 has it
            return gym.wrappers.FlattenObservation(env)
        return env


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("CartPole-v1", n_steps=100_000, n_seeds=20, solved=475.0),
        Environment("Acrobot-v1", n_steps=100_000, n_seeds=10, solved=-100.0),
        Environment("MountainCar-v0", n_steps=100_000, n_seeds=10, solved=-110.0),
        Environment("LunarLander-v3", n_steps=200_000, n_seeds=10, solved=200.0),
        # has no threshold of its own
        Environment("Pendulum-v1", n_steps=100_000, n_seeds=10, solved=-200.0),
        Environment("FrozenLake-v1", n_steps=100_000, n_seeds=10, solved=0.7),
        # has none either
        Environment(
            "MinAtar/Breakout-v1",
            n_steps=100_000,
            n_seeds=10,
            solved=10.0,
            policy="CnnPolicy",
            # no layers behind it, as SB3 has none behind its own convolution
            policy_kwargs={"features_extractor_class": "MinAtarCnn", "net_arch": []},
        ),
        Environment("Hopper-v5", n_steps=100_000, n_seeds=10, solved=3800.0),
    )
}
