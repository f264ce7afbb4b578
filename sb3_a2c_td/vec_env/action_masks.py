"""Masks of the actions that environments allow."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.rollout.validation import FIX_ENVIRONMENT
from sb3_a2c_td.vec_env.autoreset_steps import find_adapter
from sb3_a2c_td.vec_env.gymnasium_vec_env import MASK_METHOD


def check_masks_available(env: VecEnv) -> None:
    """Check that the environments provide masks of actions.

    :param env: the environments, after a reset (before it, masks in infos are unknown)
    :raises ValueError: if they do not
    """
    if not env.has_attr(MASK_METHOD):
        raise ValueError(
            f"env={type(env).__name__} provides no masks of actions: give each environment a method action_masks(), or "
            "wrap it in sb3_contrib.common.wrappers.ActionMasker. Without masks, use TDA2C."
        )


def action_masks(env: VecEnv, step: int) -> np.ndarray:
    """Return which actions the environments allow now.

    :param env: the environments
    :param step: the number of environment steps taken so far, for errors
    :return: bool ``(n_envs, n_choices)``, with the choices of all action components in order
    :raises ValueError: for a mask of another shape or dtype, or one that allows nothing, naming the environment and
        the step
    """
    adapter = find_adapter(env)
    rows = adapter.action_masks() if adapter is not None else env.env_method(MASK_METHOD)
    n_choices = components(env.action_space)
    if not isinstance(rows, np.ndarray) or rows.shape != (env.num_envs, sum(n_choices)):
        rows = _stack(rows, sum(n_choices), env.action_space, step)
    if rows.dtype.kind not in "biu":
        raise ValueError(
            f"action_masks at step {step} have the dtype {rows.dtype}, expected booleans: {FIX_ENVIRONMENT}."
        )
    masks = rows.astype(bool, copy=False)
    firsts = np.cumsum([0, *n_choices[:-1]])
    allowed = np.logical_or.reduceat(masks, firsts, axis=1)
    if not allowed.all():
        env_index, component = np.argwhere(~allowed)[0]
        raise ValueError(
            f"action_masks={rows[env_index]} of environment {env_index} at step {step} allow nothing for component "
            f"{component} of {env.action_space}: {FIX_ENVIRONMENT}."
        )
    return masks


def components(action_space: spaces.Space[Any]) -> list[int]:
    """Return the number of choices of each component of an action."""
    if isinstance(action_space, spaces.Discrete):
        return [int(action_space.n)]
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    assert isinstance(action_space, spaces.MultiBinary)
    return [2] * action_space.shape[0]


def _stack(rows: Any, n_choices: int, action_space: spaces.Space[Any], step: int) -> np.ndarray:
    for env_index, row in enumerate(rows):
        if np.shape(row) != (n_choices,):
            raise ValueError(
                f"action_masks of environment {env_index} at step {step}: expected {n_choices} booleans for "
                f"{action_space}, got {row!r}: {FIX_ENVIRONMENT}."
            )
    return np.stack(rows)
