"""A small CNN and a policy for the MinAtar games.

Source: Young & Tian, *MinAtar: An Atari-Inspired Testbed* (2019), https://arxiv.org/abs/1903.03176.
"""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_a2c_td.policies.separate import CnnPolicy


class MinAtarCnn(BaseFeaturesExtractor):
    """Features extractor of MinAtar's own agents: 16 filters of 3 x 3, then 128 units, both with ReLU.

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
        """Compute the features of images.

        :param observations: images, ``(batch, channels, 10, 10)``
        :return: features, ``(batch, 128)``
        """
        return self.layers(observations)  # type: ignore[no-any-return]


class MinAtarPolicy(CnnPolicy):
    """:class:`~sb3_a2c_td.CnnPolicy` with a :class:`MinAtarCnn` each for actor and critic.

    :param args: arguments of ``CnnPolicy``
    :param features_extractor_class: features extractor
    :param kwargs: arguments of ``CnnPolicy``
    """

    def __init__(
        self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = MinAtarCnn, **kwargs: Any
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)
