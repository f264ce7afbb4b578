"""What MinAtar's games need to be played by TDA2C: their ids, channels first, and a small CNN.

Source: Young & Tian, *MinAtar: An Atari-Inspired Testbed* (2019), https://arxiv.org/abs/1903.03176.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_a2c_td.policies import CnnPolicy

PREFIX = "MinAtar/"
"""begins the ids of the games"""


def register() -> None:
    """Register the ids of MinAtar's games, if Gymnasium does not know them yet.

    :raises ImportError: without the package ``minatar``
    """
    from minatar.gym import register_envs

    if not any(env_id.startswith(PREFIX) for env_id in gym.registry):
        register_envs()


def channels_first(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Wrap a game, so that its images are float32 and have the channels first, as PyTorch takes them.

    :param env: the game, its images ``(10, 10, channels)`` of truth values
    :return: the game, its images ``(channels, 10, 10)`` of zeros and ones
    """
    assert isinstance(env.observation_space, spaces.Box)
    height, width, n_channels = env.observation_space.shape
    images = spaces.Box(0.0, 1.0, (n_channels, height, width), np.float32)
    return gym.wrappers.TransformObservation(env, lambda image: image.transpose(2, 0, 1).astype(np.float32), images)


class MinAtarCnn(BaseFeaturesExtractor):
    """The layers of MinAtar's own agents: 16 filters of 3 x 3, then 128 units, both ReLU.

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


class MinAtarPolicy(CnnPolicy):
    """:class:`~sb3_a2c_td.policies.CnnPolicy` with two :class:`MinAtarCnn`, whatever the other arguments are."""

    def __init__(
        self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = MinAtarCnn, **kwargs: Any
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)
