"""Compiled kernels: they step and reset all copies of any compiled environment.

The environment's functions are arguments. Compiled code passes them as a tuple, ``(reset, step, observe)``; Python
passes them in a typed list, to the kernels that end with ``_from_python``.
"""

import numpy as np
from numba.typed import List

from sb3_a2c_td.engines.kernel_cache import kernel_compiler

compiled = kernel_compiler()


@compiled
def reset_all(functions, states, rngs, n_steps, observations):
    """Start an episode in every copy.

    :param functions: ``(reset, step, observe)``
    :param states: filled, ``(n_envs, state_size)``
    :param rngs: a typed list with a generator for every copy
    :param n_steps: set to zero, int64 ``(n_envs,)``
    :param observations: filled, ``(n_envs, width)``
    """
    reset, _, observe = functions
    for i in range(len(states)):
        reset(states[i], rngs[i])
        n_steps[i] = 0
        observe(states[i], observations[i])


@compiled
def advance_all(functions, states, rngs, actions, next_observations, rewards, terminated):
    """Take a step in every copy, without resets.

    :param functions: ``(reset, step, observe)``
    :param states: changed, ``(n_envs, state_size)``
    :param rngs: a typed list with a generator for every copy
    :param actions: int64 ``(n_envs,)``, or float32 ``(n_envs, action_width)``
    :param next_observations: filled, ``(n_envs, width)``
    :param rewards: filled, ``(n_envs,)``
    :param terminated: filled, bool ``(n_envs,)``
    """
    _, step, observe = functions
    for i in range(len(states)):
        rewards[i], terminated[i] = step(states[i], actions[i], rngs[i])
        observe(states[i], next_observations[i])


@compiled
def step_all(
    functions,
    states,
    rngs,
    n_steps,
    max_episode_steps,
    actions,
    next_observations,
    observations,
    rewards,
    terminated,
    truncated,
):
    """Take a step in every copy, and reset those whose episode ended.

    As Gymnasium's ``TimeLimit`` does, the last step before the limit truncates the episode, terminated or not.

    :param functions: ``(reset, step, observe)``
    :param states: changed, ``(n_envs, state_size)``
    :param rngs: a typed list with a generator for every copy
    :param n_steps: changed, the steps of the running episodes, int64 ``(n_envs,)``
    :param max_episode_steps: steps until an episode is truncated
    :param actions: int64 ``(n_envs,)``, or float32 ``(n_envs, action_width)``
    :param next_observations: filled with the observations after the step, ``(n_envs, width)``
    :param observations: filled with the same, or the first observation of the next episode, ``(n_envs, width)``
    :param rewards: filled, ``(n_envs,)``
    :param terminated: filled, bool ``(n_envs,)``
    :param truncated: filled, bool ``(n_envs,)``
    """
    advance_all(functions, states, rngs, actions, next_observations, rewards, terminated)
    reset, _, observe = functions
    for i in range(len(states)):
        n_steps[i] += 1
        truncated[i] = n_steps[i] >= max_episode_steps
        if terminated[i] or truncated[i]:
            reset(states[i], rngs[i])
            n_steps[i] = 0
            observe(states[i], observations[i])
        else:
            # an assignment of the row takes longer
            for j in range(observations.shape[1]):
                observations[i, j] = next_observations[i, j]


@compiled
def reset_all_from_python(function_list, states, rngs, n_steps, observations):
    """Call :func:`reset_all` with the functions in a typed list."""
    reset_all(function_list[0], states, rngs, n_steps, observations)


@compiled
def advance_all_from_python(function_list, states, rngs, actions, next_observations, rewards, terminated):
    """Call :func:`advance_all` with the functions in a typed list."""
    advance_all(function_list[0], states, rngs, actions, next_observations, rewards, terminated)


@compiled
def step_all_from_python(
    function_list,
    states,
    rngs,
    n_steps,
    max_episode_steps,
    actions,
    next_observations,
    observations,
    rewards,
    terminated,
    truncated,
):
    """Call :func:`step_all` with the functions in a typed list."""
    step_all(
        function_list[0],
        states,
        rngs,
        n_steps,
        max_episode_steps,
        actions,
        next_observations,
        observations,
        rewards,
        terminated,
        truncated,
    )


@compiled
def are_choices(actions, n):
    """Check whether all actions are from 0 to ``n`` - 1.

    :param actions: int64 ``(n_envs,)``
    :param n: how many there are
    """
    for action in actions:  # noqa: SIM110, numba has no all()
        if action < 0 or action >= n:
            return False
    return True


def typed_list(generators: list[np.random.Generator]) -> List:
    """Put generators into a list that compiled code takes as an argument.

    :param generators: at least one
    """
    rngs = _empty_list(generators[0])
    for generator in generators:
        _append(rngs, generator)
    return rngs


@compiled
def _empty_list(generator):
    # numba infers the type of the items
    rngs = List()
    rngs.append(generator)
    rngs.clear()
    return rngs


@compiled
def _append(rngs, generator):
    rngs.append(generator)
