"""Makes transitions of what a step of a vector environment returns."""

import warnings
from typing import Any

import numpy as np

from sb3_a2c_td.rollout.observations import Observations, map_arrays, named_arrays, paired_arrays
from sb3_a2c_td.rollout.transitions import Transitions
from sb3_a2c_td.rollout.validation import FIX_ENVIRONMENT, STOPPED, number_fault

UNUSED = (
    "the environment does not return valid last observations of truncated episodes. Nothing is learned from them, "
    "since bootstrap_on_truncation=False"
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
    :raises ValueError: if the last observation of an episode is learned from, and is missing or overwritten, has
        another shape or is not finite. If it is not learned from, the first observation of the next episode stays in
        its place, with a warning if a time limit truncated the episode
    """
    rewards = rewards.astype(np.float32, copy=False)
    if not np.count_nonzero(dones):
        return Transitions(observations, actions, rewards, new_obs, dones, dones)
    truncated, next_obs = dones.copy(), map_arrays(np.copy, new_obs)
    for env in np.flatnonzero(dones).tolist():
        truncated[env] = infos[env].get("TimeLimit.truncated", False)
        terminal_obs = infos[env].get("terminal_observation")
        fault = _fault(new_obs, terminal_obs, env, step)
        if fault is None:
            for rows, last in paired_arrays(next_obs, terminal_obs):
                rows[env] = last
        elif truncated[env] and bootstraps:
            raise ValueError(fault)
        elif truncated[env]:
            warnings.warn(UNUSED, stacklevel=2)
    return Transitions(observations, actions, rewards, next_obs, dones ^ truncated, truncated)


def _fault(new_obs: Observations, terminal_obs: Any, env: int, step: int) -> str | None:
    """Describe why nothing can be learned from the last observation of an episode; ``None`` if it is valid."""
    if terminal_obs is None:
        return (
            f"infos[{env}] of step {step} has 'TimeLimit.truncated' but no 'terminal_observation': the environment "
            "must return the last observation of an episode"
        )
    lasts = dict(named_arrays("terminal_observation", terminal_obs))
    for name, new in named_arrays("terminal_observation", new_obs):
        last: Any = lasts.get(name)
        shape = _shape(last)
        # numpy would broadcast it
        if shape != new.shape[1:]:
            return (
                f"{name} of environment {env} at step {step}: expected shape {new.shape[1:]}, got "
                f"{'no array' if shape is None else f'shape {shape}'}; {FIX_ENVIRONMENT}, or the VecEnvWrapper that "
                "changes observations, which must change those in the infos as well."
            )
        if np.shares_memory(new, last):
            return (
                f"{name} of environment {env} at step {step} shares memory with the new observations, which have "
                f"overwritten it: {STOPPED} Return a copy of it in the infos."
            )
        fault = number_fault(step, name, last, env)
        if fault is not None:
            return fault
    return None


def _shape(values: Any) -> tuple[int, ...] | None:
    try:
        return None if values is None else np.shape(values)
    # of lists that differ in length
    except ValueError:
        return None
