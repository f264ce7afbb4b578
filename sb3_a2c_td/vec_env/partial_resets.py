"""Resets of only some of a vector environment's environments."""

from types import NoneType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from sb3_a2c_td.vec_env.infos import Info


def reset_some(env: VectorEnv[Any, Any, Any], mask: np.ndarray) -> tuple[Any, Info]:
    """Reset some environments without options, as ``DummyVecEnv`` does at the end of an episode.

    ``SyncVectorEnv`` and ``AsyncVectorEnv`` take the mask out of the options, and would pass on what is left: an empty
    dict, which an environment may take for options.

    :param env: the vector environment, in wrappers or not
    :param mask: which environments to reset, bool ``(n_envs,)``
    :return: what ``env.reset`` returns
    """
    vector_env = env.unwrapped
    if isinstance(vector_env, AsyncVectorEnv):
        return env.reset(options=_NothingForWorkers(reset_mask=mask.copy()))
    if not isinstance(vector_env, SyncVectorEnv):
        return env.reset(options={"reset_mask": mask.copy()})
    envs = vector_env.envs
    vector_env.envs = [_ResetWithoutOptions(envs[i]) if is_reset else envs[i] for i, is_reset in enumerate(mask)]
    try:
        return env.reset(options={"reset_mask": mask.copy()})
    finally:
        vector_env.envs = envs


class _NothingForWorkers(dict[str, Any]):
    """Options that arrive in a worker process as ``None``."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return NoneType, ()


class _ResetWithoutOptions(gym.Wrapper[Any, Any, Any, Any]):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        return self.env.reset()
