"""MinAtar's games as TDA2C takes them: their ids, and images with the channels first.

Source: Young & Tian, *MinAtar: An Atari-Inspired Testbed* (2019), https://arxiv.org/abs/1903.03176.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

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
