"""The environments of the benchmark, and the steps and seeds that an arm gets on each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


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
        if self.name.startswith("MinAtar/"):
            return _make_minatar(self.name)
        env = gym.make(self.name)
        if isinstance(env.observation_space, spaces.Discrete):
            # one-hot, as SB3 has it
            return gym.wrappers.FlattenObservation(env)
        return env


class MinAtarCnn(BaseFeaturesExtractor):
    """The layers of MinAtar's own agents: 16 filters of 3 x 3, then 128 units, both ReLU.

    Source: Young & Tian, *MinAtar: An Atari-Inspired Testbed* (2019), https://arxiv.org/abs/1903.03176.

    :param observation_space: images of 10 x 10, channels first
    """

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=128)
        n_channels, height, width = observation_space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, 16, kernel_size=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), self.features_dim),
            nn.ReLU(),
        )

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Give the features, ``(batch, 128)``, of images, ``(batch, channels, 10, 10)``."""
        return self.layers(observations)  # type: ignore[no-any-return]


def _make_minatar(name: str) -> gym.Env[Any, Any]:
    """Make a MinAtar game whose images have the channels first, as float32."""
    from minatar.gym import register_envs

    if name not in gym.registry:
        register_envs()
    env = gym.make(name)
    assert isinstance(env.observation_space, spaces.Box)
    height, width, n_channels = env.observation_space.shape
    images = spaces.Box(0.0, 1.0, (n_channels, height, width), np.float32)
    return gym.wrappers.TransformObservation(env, lambda image: image.transpose(2, 0, 1).astype(np.float32), images)


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
