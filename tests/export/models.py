"""Models of every kind that can be exported, and policies that cannot."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_a2c_td import TDA2C, MlpPolicy
from tests.environments import RandomEnv

VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
DISCRETE = spaces.Discrete(3)
BOX = spaces.Box(np.array([[-0.1, -0.2]], np.float32), np.array([[0.1, 0.3]], np.float32))
"""so narrow that actions are clipped"""
DICT = spaces.Dict([("vector", VECTOR), ("image", IMAGE), ("number", spaces.Discrete(4))])
"""with keys that are not in alphabetical order"""


def model_on(
    observations: spaces.Space[Any], actions: spaces.Space[Any] = DISCRETE, policy: str = "MlpPolicy", **kwargs: Any
) -> TDA2C:
    # rates so high that the networks are no longer those that were drawn
    settings = {"learning_rate": 0.01, "critic_learning_rate": 0.01, "reward_scale": 1.0, "device": "cpu", **kwargs}
    return TDA2C(policy, RandomEnv(observations, actions), seed=0, **settings).learn(50)


MODELS: dict[str, Callable[[], TDA2C]] = {
    "discrete": lambda: model_on(VECTOR),
    "multi-discrete": lambda: model_on(VECTOR, spaces.MultiDiscrete([2, 4])),
    "multi-binary": lambda: model_on(VECTOR, spaces.MultiBinary(4)),
    "box": lambda: model_on(VECTOR, BOX),
    "box of doubles": lambda: model_on(VECTOR, spaces.Box(-0.1, 0.1, (2, 2), np.float64)),
    "gSDE": lambda: model_on(VECTOR, BOX, use_sde=True),
    "squashed": lambda: model_on(VECTOR, BOX, use_sde=True, policy_kwargs={"squash_output": True}),
    "no hidden layers": lambda: model_on(VECTOR, policy_kwargs={"net_arch": []}),
    "unbounded doubles": lambda: model_on(spaces.Box(-np.inf, np.inf, (2, 3), np.float64)),
    "from discrete": lambda: model_on(spaces.Discrete(5)),
    "from multi-discrete": lambda: model_on(spaces.MultiDiscrete([2, 4])),
    "from multi-binary": lambda: model_on(spaces.MultiBinary(3)),
    "image": lambda: model_on(IMAGE, policy="CnnPolicy"),
    "image, not divided": lambda: model_on(IMAGE, policy_kwargs={"normalize_images": False}),
    "image, channels last": lambda: model_on(spaces.Box(0, 255, (36, 36, 1), np.uint8), policy="CnnPolicy"),
    "dict": lambda: model_on(DICT, BOX, "MultiInputPolicy"),
}


class Contrary(MlpPolicy):
    """Returns other actions than its networks do."""

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return (super()._predict(observation, deterministic) + 1) % 3


class Doubling(FlattenExtractor):
    """A custom features extractor."""

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return 2 * super().forward(observations)


class Branching(FlattenExtractor):
    """Computes something else for large observations."""

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return super().forward(observations) * (2 if observations.sum() > 0 else 1)


class CustomLayers(nn.Module):
    """Custom hidden layers."""

    latent_dim_pi = latent_dim_vf = 3

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        return features

    forward_critic = forward_actor

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        return features, features


class WithCustomLayers(MlpPolicy):
    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = CustomLayers()
