"""Makes transitions of what a step of a vector environment returns."""

import warnings
from typing import Any

import numpy as np

from sb3_a2c_td.rollout.observations import Observations, map_arrays, paired_arrays
from sb3_a2c_td.rollout.transitions import Transitions
from sb3_a2c_td.rollout.validation import FIX_ENVIRONMENT, STOPPED, check_finite

UNUSED = (
    "the environment does not return the last observations of truncated episodes. Nothing is learned from them, since "
    "bootstrap_on_truncation=False"
)
"""a warning with one text, so that it is shown once"""


def step_transitions(
    observations: Observations,
    actions: np.ndarray,
    new_obs: Observations,
    rewards: np.ndarray,
    dones: np.ndarray,
    infos: list[dict[str, Any]],
    step: int,
    bootstraps: bool,
) -> Transitions[np.ndarray]:
    """Put together the transitions of one step of a ``VecEnv``, a row for each environment.

    :param observations: before the step, ``(n_envs, *observation_shape)``, or a dict of such arrays
    :param actions: as the policy drew them, ``(n_envs, *action_shape)``
    :param new_obs: after the step; where an episode ended, the first observation of the next one
    :param rewards: ``(n_envs,)``
    :param dones: whether an episode ended, bool ``(n_envs,)``
    :param infos: the infos of the step, with SB3's keys ``TimeLimit.truncated`` and ``terminal_observation``
    :param step: the number of environment steps taken so far, for errors
    :param bootstraps: whether the last observations of truncated episodes are learned from
    :raises ValueError: if the last observation of an episode has another shape or is not finite, or if it is learned
        from and is missing or overwritten; it is only a warning if it is not
    """
    rewards = rewards.astype(np.float32, copy=False)
    if not np.count_nonzero(dones):
        return Transitions(observations, actions, rewards, new_obs, dones, dones)
    truncated, next_obs = dones.copy(), map_arrays(np.copy, new_obs)
    for env in np.flatnonzero(dones).tolist():
        truncated[env] = infos[env].get("TimeLimit.truncated", False)
        terminal_obs = infos[env].get("terminal_observation")
        if terminal_obs is not None:
            map_arrays(lambda rows, last, env=env: _overwrite(rows, env, last, step), next_obs, terminal_obs)
        if truncated[env]:
            _check_terminal_observation(new_obs, terminal_obs, env, step, bootstraps)
    check_finite(step, terminal_observation=next_obs)
    return Transitions(observations, actions, rewards, next_obs, dones ^ truncated, truncated)


def _check_terminal_observation(
    new_obs: Observations, terminal_obs: Any, env: int, step: int, bootstraps: bool
) -> None:
    """Check the last observation of a truncated episode, which fast simulators often do not keep."""
    if terminal_obs is None:
        fault = (
            f"infos[{env}] of step {step} has 'TimeLimit.truncated' but no 'terminal_observation': the environment "
            "must return the last observation of an episode"
        )
    elif any(np.shares_memory(new, last) for new, last in paired_arrays(new_obs, terminal_obs)):
        fault = (
            f"terminal_observation of environment {env} at step {step} shares memory with the new observations, which "
            f"have overwritten it: {STOPPED} Return a copy of it in the infos."
        )
    else:
        return
    if bootstraps:
        raise ValueError(fault)
    warnings.warn(UNUSED, stacklevel=2)


def _overwrite(rows: np.ndarray, env: int, terminal_obs: Any, step: int) -> None:
    # numpy would broadcast it
    if np.shape(terminal_obs) != rows.shape[1:]:
        raise ValueError(
            f"terminal_observation of environment {env} at step {step}: expected shape {rows.shape[1:]}, got shape "
            f"{np.shape(terminal_obs)}; {FIX_ENVIRONMENT}."
        )
    rows[env] = terminal_obs
