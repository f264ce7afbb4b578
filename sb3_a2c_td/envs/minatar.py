"""Images of the MinAtar games with the channels first, as PyTorch expects them.

Source: Young & Tian, *MinAtar: An Atari-Inspired Testbed* (2019), https://arxiv.org/abs/1903.03176.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def channels_first(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Wrap a game so that its images are float32 with the channels first.

    :param env: the game, with boolean images ``(10, 10, channels)``
    :return: the game, with images ``(channels, 10, 10)`` of zeros and ones
    """
    assert isinstance(env.observation_space, spaces.Box)
    height, width, n_channels = env.observation_space.shape
    images = spaces.Box(0.0, 1.0, (n_channels, height, width), np.float32)
    return gym.wrappers.TransformObservation(env, lambda image: image.transpose(2, 0, 1).astype(np.float32), images)
