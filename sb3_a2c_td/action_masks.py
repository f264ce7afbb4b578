"""Which actions the environments allow."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.validation import STOPPED
from sb3_a2c_td.vec_env import MASK_METHOD, adapter_below

WAY_OUT = (
    "give the environment a method action_masks(), or wrap it in sb3_contrib.common.wrappers.ActionMasker; if it has "
    "no masks, use TDA2C"
)


def action_masks(env: VecEnv, step: int) -> np.ndarray:
    """Ask the environments which actions are allowed now.

    :param env: the environments
    :param step: the number of environment steps taken so far, for errors
    :return: bool ``(n_envs, n_choices)``, the choices of an action's components one after another
    :raises ValueError: if they do not say, or what they say is no mask, or allows nothing
    """
    adapter = adapter_below(env)
    try:
        masks = adapter.action_masks() if adapter is not None else np.stack(env.env_method(MASK_METHOD))
    except AttributeError as error:
        raise ValueError(f"{env} does not say which actions are allowed: {WAY_OUT}") from error
    _check(masks, env.num_envs, env.action_space, step)
    return masks.astype(bool, copy=False)


def components(action_space: spaces.Space[Any]) -> list[int]:
    """Give the number of choices of each component of an action."""
    if isinstance(action_space, spaces.Discrete):
        return [int(action_space.n)]
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    assert isinstance(action_space, spaces.MultiBinary)
    return [2] * len(action_space.sample())


def _check(masks: np.ndarray, n_envs: int, action_space: spaces.Space[Any], step: int) -> None:
    n_choices = components(action_space)
    if masks.shape != (n_envs, sum(n_choices)) or masks.dtype.kind not in "biu":
        raise ValueError(
            f"action_masks: expected {sum(n_choices)} booleans of each of {n_envs} environments for {action_space} at "
            f"step {step}, got {masks.dtype} of shape {masks.shape}: {STOPPED} Mend the environment."
        )
    firsts = np.cumsum([0, *n_choices[:-1]])
    allowed = np.logical_or.reduceat(masks, firsts, axis=1)
    if not allowed.all():
        env, component = np.argwhere(~allowed)[0]
        raise ValueError(
            f"action_masks={masks[env]} of environment {env} at step {step} allow nothing for component {component} of "
            f"{action_space}: {STOPPED} Mend the environment."
        )
