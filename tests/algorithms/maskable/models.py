"""Models and environments for the tests of MaskableTDA2C."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import MaskableTDA2C
from sb3_a2c_td.policies.maskable import MaskableMlpPolicy
from tests.engines import CPU_ENGINES
from tests.environments import MaskedEnv

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTION_SPACES = {
    "discrete": spaces.Discrete(5),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(3),
}


class CustomPolicy(MaskableMlpPolicy):
    """A subclass, which no engine takes for a plain MLP: PyTorch differentiates it."""


PLAIN_ENGINES = [engine for engine in CPU_ENGINES if engine != "auto"]
"""engines for plain MLPs with Discrete actions; other spaces of masked actions need PyTorch's differentiation"""


def policies_and_engines(*action_spaces: str) -> Any:
    """Parametrize a test by the name of an action space, a policy, and an engine that supports both."""
    cases = []
    for name in action_spaces:
        cases.append(pytest.param(name, CustomPolicy, "auto", id=f"{name}-custom policy"))
        if name == "discrete":
            cases += [pytest.param(name, MaskableMlpPolicy, engine, id=f"{name}-{engine}") for engine in PLAIN_ENGINES]
    return pytest.mark.parametrize(("space", "policy", "engine"), cases)


def make_masked_env(
    action_space: spaces.Space, n_envs: int = 3, observation_space: spaces.Space = VECTOR, **kwargs: Any
) -> VecEnv:
    return make_vec_env(lambda: MaskedEnv(observation_space, action_space, **kwargs), n_envs, seed=0)


def make_model(env: Any, policy: Any = "MlpPolicy", **kwargs: Any) -> MaskableTDA2C:
    return MaskableTDA2C(policy, env, **({"seed": 0, "device": "cpu"} | kwargs))
