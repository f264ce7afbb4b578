"""Models and environments for the tests of MaskableTDA2C."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import MaskableTDA2C
from tests.engines import MLP_ENGINES
from tests.environments import MaskedEnv

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTION_SPACES = {
    "discrete": spaces.Discrete(5),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(3),
}


SPACES_AND_ENGINES = [
    *(("discrete", engine) for engine in MLP_ENGINES),
    ("multi_discrete", "autograd"),
    ("multi_binary", "autograd"),
]
"""the gradients in closed form are those of Discrete actions"""


def make_masked_env(
    action_space: spaces.Space, n_envs: int = 3, observation_space: spaces.Space = VECTOR, **kwargs: Any
) -> VecEnv:
    return make_vec_env(lambda: MaskedEnv(observation_space, action_space, **kwargs), n_envs, seed=0)


def make_model(env: Any, policy: Any = "MlpPolicy", **kwargs: Any) -> MaskableTDA2C:
    return MaskableTDA2C(policy, env, **({"seed": 0, "device": "cpu"} | kwargs))
