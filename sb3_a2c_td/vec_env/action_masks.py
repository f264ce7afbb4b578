"""Masks of the actions that environments allow."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sb3_a2c_td.rollout.validation import FIX_ENVIRONMENT, NUMERIC_KINDS
from sb3_a2c_td.vec_env.gymnasium_vec_env import MASK_METHOD, GymnasiumVecEnv


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
    :raises ValueError: for a mask of another size, with other values than booleans, 0 and 1, or that allows nothing,
        naming the environment and the step
    """
    rows = _rows_of(env)
    n_choices = components(env.action_space)
    if not isinstance(rows, np.ndarray) or rows.shape != (env.num_envs, sum(n_choices)):
        rows = _stack(rows, env.num_envs, sum(n_choices), env.action_space, step)
    masks = _to_booleans(rows, step)
    firsts = np.cumsum([0, *n_choices[:-1]])
    allowed = np.logical_or.reduceat(masks, firsts, axis=1)
    if not allowed.all():
        env_index, component = np.argwhere(~allowed)[0]
        raise ValueError(
            f"action_masks={rows[env_index]} of environment {env_index} at step {step} allow nothing for component "
            f"{component} of {env.action_space}: {FIX_ENVIRONMENT}."
        )
    return masks


def _rows_of(env: VecEnv) -> Any:
    """Ask the outermost wrapper that answers ``env_method`` itself, as sb3-contrib does; else the environments."""
    while isinstance(env, VecEnvWrapper) and type(env).env_method is VecEnvWrapper.env_method:
        env = env.venv
    # all masks in one array, instead of a list of its rows
    return env.action_masks() if isinstance(env, GymnasiumVecEnv) else env.env_method(MASK_METHOD)


def components(action_space: spaces.Space[Any]) -> list[int]:
    """Return the number of choices of each component of an action."""
    if isinstance(action_space, spaces.Discrete):
        return [int(action_space.n)]
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    assert isinstance(action_space, spaces.MultiBinary)
    return [2] * action_space.shape[0]


def _stack(rows: Any, n_envs: int, n_choices: int, action_space: spaces.Space[Any], step: int) -> np.ndarray:
    """Make one array of masks that may be nested lists or arrays of other shapes."""
    if len(rows) != n_envs:
        raise ValueError(f"action_masks at step {step}: expected {n_envs} masks, got {len(rows)}: {FIX_ENVIRONMENT}.")
    return np.stack([_flatten(row, env, n_choices, action_space, step) for env, row in enumerate(rows)])


def _flatten(row: Any, env: int, n_choices: int, action_space: spaces.Space[Any], step: int) -> np.ndarray:
    try:
        mask = np.asarray(row).reshape(-1)
    except ValueError:
        # lists of different lengths
        mask = None
    if mask is None or len(mask) != n_choices:
        raise ValueError(
            f"action_masks of environment {env} at step {step}: expected {n_choices} booleans for {action_space}, got "
            f"{row!r}: {FIX_ENVIRONMENT}."
        )
    return mask


def _to_booleans(rows: np.ndarray, step: int) -> np.ndarray:
    """Return a copy as booleans, which the environments cannot change."""
    if rows.dtype == bool:
        return rows.copy()
    is_valid = np.logical_or(rows == 0, rows == 1) if rows.dtype.kind in NUMERIC_KINDS else np.zeros(rows.shape, bool)
    if not is_valid.all():
        env_index = int(np.argwhere(~is_valid)[0, 0])
        raise ValueError(
            f"action_masks={rows[env_index]} of environment {env_index} at step {step} must be booleans, or 0 and 1: "
            f"{FIX_ENVIRONMENT}."
        )
    return rows.astype(bool)
