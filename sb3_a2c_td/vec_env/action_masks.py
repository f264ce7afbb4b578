"""Which actions the environments allow."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.rollout.validation import STOPPED
from sb3_a2c_td.vec_env.gymnasium_vec_env import MASK_METHOD, adapter_below


def check_masks_available(env: VecEnv) -> None:
    """Check that the environments say which actions are allowed.

    :param env: the environments
    :raises ValueError: if they do not
    """
    if not env.has_attr(MASK_METHOD):
        raise ValueError(
            f"env={type(env).__name__} holds environments that do not say which actions are allowed: give them a "
            "method action_masks(), or wrap each in sb3_contrib.common.wrappers.ActionMasker; without masks, use TDA2C"
        )


def action_masks(env: VecEnv, step: int) -> np.ndarray:
    """Ask the environments which actions are allowed now.

    :param env: the environments
    :param step: the number of environment steps taken so far, for errors
    :return: bool ``(n_envs, n_choices)``, the choices of an action's components one after another
    :raises ValueError: if what one of them says is no mask, or allows nothing, naming it and the step
    """
    adapter = adapter_below(env)
    rows = adapter.action_masks() if adapter is not None else env.env_method(MASK_METHOD)
    n_choices = components(env.action_space)
    if not isinstance(rows, np.ndarray) or rows.shape != (env.num_envs, sum(n_choices)):
        rows = _stacked(rows, sum(n_choices), env.action_space, step)
    if rows.dtype.kind not in "biu":
        raise ValueError(
            f"action_masks at step {step} are of {rows.dtype}, not booleans: {STOPPED} Mend the environment."
        )
    masks = rows.astype(bool, copy=False)
    firsts = np.cumsum([0, *n_choices[:-1]])
    allowed = np.logical_or.reduceat(masks, firsts, axis=1)
    if not allowed.all():
        number, component = np.argwhere(~allowed)[0]
        raise ValueError(
            f"action_masks={rows[number]} of environment {number} at step {step} allow nothing for component "
            f"{component} of {env.action_space}: {STOPPED} Mend the environment."
        )
    return masks


def components(action_space: spaces.Space[Any]) -> list[int]:
    """Give the number of choices of each component of an action."""
    if isinstance(action_space, spaces.Discrete):
        return [int(action_space.n)]
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    assert isinstance(action_space, spaces.MultiBinary)
    return [2] * action_space.shape[0]


def _stacked(rows: Any, n_choices: int, action_space: spaces.Space[Any], step: int) -> np.ndarray:
    for number, row in enumerate(rows):
        if np.shape(row) != (n_choices,):
            raise ValueError(
                f"action_masks of environment {number} at step {step}: expected {n_choices} booleans for "
                f"{action_space}, got {row!r}: {STOPPED} Mend the environment."
            )
    return np.stack(rows)
