"""Models of every kind that can be exported."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_a2c_td import TDA2C
from tests.environments import RandomEnv

VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
DISCRETE = spaces.Discrete(3)
BOX = spaces.Box(np.array([[-0.1, -0.2]], np.float32), np.array([[0.1, 0.3]], np.float32))
"""so narrow that actions are clipped"""
DICT = spaces.Dict([("vector", VECTOR), ("image", IMAGE), ("number", spaces.Discrete(4))])
"""in an order of its own"""


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
