"""The compiled training loop: collects rollouts and takes updates until something needs Python.

It computes what :class:`~sb3_a2c_td.engines.numba_mlp.NumbaEngine` and SB3's ``VecNormalize`` compute step by step, bit
for bit: it calls the same compiled kernels, and its own arithmetic keeps numpy's order of operations.
"""

import math
from typing import NamedTuple

import numpy as np

from sb3_a2c_td.compiled import borrowing, running_normalization, stepping
from sb3_a2c_td.compiled.borrowing import borrow
from sb3_a2c_td.compiled.running_normalization import normalize_step
from sb3_a2c_td.compiled.stepping import step_all
from sb3_a2c_td.engines import numba_kernels
from sb3_a2c_td.engines.kernel_cache import kernel_compiler
from sb3_a2c_td.engines.numba_kernels import ONE, is_finite

compiled = kernel_compiler(borrowing, running_normalization, stepping, numba_kernels)


class Environments(NamedTuple):
    """Copies of a compiled environment, with ``n`` rows in each array; see :func:`~.stepping.step_all`."""

    states: np.ndarray
    n_steps: np.ndarray
    max_episode_steps: int
    returns: np.ndarray
    """of the running episodes, ``(n,)`` float64"""
    low: np.ndarray
    """continuous actions are clipped to ``[low, high]``, both ``(action_width,)`` float32"""
    high: np.ndarray
    actions: np.ndarray
    """the last ones, clipped: int64 ``(n,)``, or float32 ``(n, action_width)``"""


class Step(NamedTuple):
    """What one step returns. The arrays are overwritten by the next one."""

    observations: np.ndarray
    """where an episode ended, the first ones of the next episode; ``(n, n_inputs)`` float32"""
    next_observations: np.ndarray
    """where an episode ended, its last ones; ``(n, n_inputs)`` float32"""
    env_rewards: np.ndarray
    """as the environments return them, ``(n,)`` float64"""
    rewards: np.ndarray
    """``(n,)`` float32"""
    terminated: np.ndarray
    """bool ``(n,)``"""
    truncated: np.ndarray
    """whether the time limit ended an episode that did not terminate, bool ``(n,)``"""
    ended: np.ndarray
    """bool ``(n,)``"""
    env_observations: np.ndarray
    """``observations`` before they are normalized"""
    lengths: np.ndarray
    """of the running episodes before the step, int64 ``(n,)``"""


class Networks(NamedTuple):
    """The parameters of actor and critic, see :func:`~sb3_a2c_td.engines.numba_kernels.update`."""

    actor_widths: np.ndarray
    critic_widths: np.ndarray
    n_actor: int
    flat: np.ndarray
    use_tanh: bool
    continuous: bool


class Optimizer(NamedTuple):
    """The settings of Adam, see :meth:`~sb3_a2c_td.engines.mlp_parameters.MlpParameters.actor_adam`."""

    betas: tuple[tuple[float, float], tuple[float, float]]
    """of actor and critic"""
    eps: tuple[float, float]
    """of actor and critic"""
    like_tensorflow: bool
    """whether it is ``AdamTFLike``, or else PyTorch's ``Adam``"""
    n_steps: tuple[int, int]
    """steps of actor and critic taken before this call"""
    rates: np.ndarray
    """learning rates of actor and critic for an update after each step, ``(2, max_steps)``"""


class Rollout(NamedTuple):
    """The arrays of a :class:`~sb3_a2c_td.rollout.transitions.TransitionBuffer`, and how long a rollout is."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    action_rows: np.ndarray
    """``actions`` as ``(rows, action_width)``"""
    length: int
    """steps of each environment"""
    ends_with_episode: bool


class Episodes(NamedTuple):
    """Episodes that ended, in their order. The arrays have room for one in every environment and step."""

    returns: np.ndarray
    lengths: np.ndarray
    steps: np.ndarray
    """the step of this call in which they ended, from 1"""


class Progress(NamedTuple):
    """How far a call of :func:`train` came."""

    n_steps: int
    """steps of each environment, the last of which may have failed"""
    n_rows: int
    """rows in the rollout now"""
    n_rollout_steps: int
    """steps in the rollout now"""
    n_updates: int
    last_update: int
    """the step after which the last update was taken, from 1"""
    larger_updates: int
    """updates on more than one transition"""
    explained_variance: float
    """of the last one of them"""
    n_episodes: int
    step_failed: bool
    """whether the environments raised an error, or returned something that is not finite, in the last step, which is
    not stored"""


PROGRESS = np.dtype(list(Progress.__annotations__.items()), align=True)
"""the same as a record, which stays when the environments raise an error"""


@compiled
def train(
    function_list,
    kernel_list,
    rngs,
    envs,
    networks,
    optimizer,
    config,
    normalization,
    rollout,
    observations,
    noise,
    no_masks,
    max_updates,
    step,
    episodes,
    progress,
    metrics,
):
    """Collect rollouts and take updates until the noise is used up, or a rollout is complete after ``max_updates``.

    It stops before an action or an update that would raise an error, so that Python can raise it.

    :param function_list: a typed list with ``(reset, step, observe)`` of the environment
    :param kernel_list: a typed list with ``(draw, update)``: kernels of :mod:`~sb3_a2c_td.engines.numba_kernels`, where
        ``draw`` is ``draw_categorical_unmasked`` or ``draw_gaussian``
    :param rngs: a typed list with the generator of each environment
    :param config: the fields of ``LossConfig``
    :param normalization: :class:`~.running_normalization.CompiledNormalization`
    :param observations: what the policy sees, ``(n, n_inputs)`` float32; overwritten
    :param noise: for each step, ``(max_steps, n, n_outputs)`` float64
    :param no_masks: ``NO_MASKS``, which would be read-only as a constant
    :param step: holds the last step in the end
    :param episodes: filled with the episodes that end
    :param progress: :data:`PROGRESS`, ``(1,)``, with the rows and the steps of the rollout so far; updated
    :param metrics: filled with those of the last update, ``(7,)`` float64
    """
    functions, (draw, update) = function_list[0], kernel_list[0]
    envs, networks, optimizer, normalization = borrow(envs), borrow(networks), borrow(optimizer), borrow(normalization)
    rollout, observations, noise, no_masks = borrow(rollout), borrow(observations), borrow(noise), borrow(no_masks)
    step, episodes, metrics, done = borrow(step), borrow(episodes), borrow(metrics), borrow(progress)[0]
    n = len(observations)
    actor = networks.flat[0, : networks.n_actor]
    while done.n_steps < len(noise):
        actions, are_finite = draw(networks.actor_widths, actor, networks.use_tanh, observations, noise[done.n_steps])
        if not are_finite:
            break
        done.n_steps += 1
        done.step_failed = True
        n_episodes = step_environments(functions, rngs, envs, actions, step, done.n_steps, episodes, done.n_episodes)
        bootstraps = config[2]
        if not is_step_finite(step, bootstraps):
            break
        done.step_failed = False
        done.n_episodes = n_episodes
        copy_rows(step.env_observations, step.observations)
        if normalization.is_wrapped:
            normalize_step(normalization, step.observations, step.next_observations, step.rewards, step.ended)
        store(rollout, done.n_rows, observations, actions, step)
        copy_rows(observations, step.observations)
        done.n_rows += n
        done.n_rollout_steps += 1
        if done.n_rollout_steps >= rollout.length or (rollout.ends_with_episode and step.ended.any()):
            if done.n_updates == max_updates:
                break
            n_rows = done.n_rows
            _, is_taken, _, _, new_metrics = update(
                networks.actor_widths,
                networks.critic_widths,
                networks.n_actor,
                networks.flat,
                networks.use_tanh,
                networks.continuous,
                rollout.observations[:n_rows],
                rollout.action_rows[:n_rows],
                no_masks,
                rollout.rewards[:n_rows],
                rollout.next_observations[:n_rows],
                rollout.terminated[:n_rows],
                rollout.truncated[:n_rows],
                config,
                adam_settings(optimizer, 0, done.n_updates, done.n_steps),
                adam_settings(optimizer, 1, done.n_updates, done.n_steps),
            )
            if not is_taken:
                break
            for k in range(len(metrics)):
                metrics[k] = new_metrics[k]
            done.n_updates += 1
            done.last_update = done.n_steps
            if n_rows > 1:
                done.larger_updates += 1
                done.explained_variance = metrics[-1]
            done.n_rows = done.n_rollout_steps = 0


@compiled
def step_environments(functions, rngs, envs, actions, step, number, episodes, n_episodes):
    """Step the environments, and append the episodes that end to ``episodes``.

    :param step: filled
    :param number: the number of the step in this call
    :param n_episodes: episodes before this step
    :return: episodes after it
    """
    clip(actions, envs.low, envs.high, envs.actions)
    for env in range(len(actions)):
        step.lengths[env] = envs.n_steps[env]
    step_all(
        functions,
        envs.states,
        rngs,
        envs.n_steps,
        envs.max_episode_steps,
        envs.actions,
        step.next_observations,
        step.observations,
        step.env_rewards,
        step.terminated,
        step.truncated,
    )
    for env in range(len(actions)):
        step.rewards[env] = step.env_rewards[env]
        envs.returns[env] += step.env_rewards[env]
        step.ended[env] = step.terminated[env] or step.truncated[env]
        step.truncated[env] = step.truncated[env] and not step.terminated[env]
        if step.ended[env]:
            episodes.returns[n_episodes] = envs.returns[env]
            episodes.lengths[n_episodes] = step.lengths[env] + 1
            episodes.steps[n_episodes] = number
            envs.returns[env] = 0.0
            n_episodes += 1
    return n_episodes


@compiled
def is_step_finite(step, bootstraps):
    """Check whether rewards and observations are finite.

    Last observations that no target uses need not be: the first ones of the next episode replace them, as in
    :func:`~sb3_a2c_td.rollout.steps.step_transitions`.
    """
    are_finite = True
    for env in range(len(step.rewards)):
        are_finite = are_finite and is_finite(step.rewards[env])
        is_next_finite = True
        for i in range(step.observations.shape[1]):
            are_finite = are_finite and is_finite(step.observations[env, i])
            is_next_finite = is_next_finite and is_finite(step.next_observations[env, i])
        if not is_next_finite:
            are_finite = are_finite and step.ended[env] and not (step.truncated[env] and bootstraps)
            for i in range(step.observations.shape[1] if are_finite else 0):
                step.next_observations[env, i] = step.observations[env, i]
    return are_finite


@compiled
def clip(actions, low, high, clipped):
    """Clip continuous actions, as ``np.clip`` does. The policy draws only valid discrete ones.

    :param clipped: filled with the actions
    """
    for env in range(len(actions)):
        if actions.ndim == 1:
            clipped[env] = actions[env]
        else:
            for k in range(len(low)):
                clipped[env, k] = min(max(actions[env, k], low[k]), high[k])


@compiled
def store(rollout, n_rows, observations, actions, step):
    """Store the transitions of a step from row ``n_rows`` on.

    :param observations: those before the step
    :param actions: as the policy drew them
    """
    for env in range(len(actions)):
        row = n_rows + env
        # an assignment of the row takes longer
        for i in range(observations.shape[1]):
            rollout.observations[row, i] = observations[env, i]
            rollout.next_observations[row, i] = step.next_observations[env, i]
        rollout.actions[row] = actions[env]
        rollout.rewards[row] = step.rewards[env]
        rollout.terminated[row] = step.terminated[env]
        rollout.truncated[row] = step.truncated[env]


@compiled
def copy_rows(to, rows):
    """Copy rows into others."""
    for row in range(len(rows)):
        for i in range(rows.shape[1]):
            to[row, i] = rows[row, i]


@compiled
def adam_settings(optimizer, network, n_updates, n_steps):
    """Return the last three arguments of :func:`~sb3_a2c_td.engines.numba_kernels.adam`.

    See :meth:`MlpParameters.actor_adam <sb3_a2c_td.engines.mlp_parameters.MlpParameters.actor_adam>`.

    :param network: 0: the actor; 1: the critic
    :param n_updates: updates that this call has taken
    :param n_steps: steps that this call has taken
    """
    beta1, beta2 = optimizer.betas[network]
    rate, eps = optimizer.rates[network, n_steps - 1], optimizer.eps[network]
    t = optimizer.n_steps[network] + n_updates + 1
    if optimizer.like_tensorflow:
        return (beta1, beta2), step_size(rate, beta1, beta2, t), eps
    root = math.sqrt(1.0 - math.pow(beta2, float(t)))
    return (beta1, beta2), rate * root / (1.0 - math.pow(beta1, float(t))), eps * root


@compiled
def step_size(rate, beta1, beta2, t):
    """See :func:`sb3_a2c_td.optimizers.step_size`, in float32."""
    correction1 = ONE - math.pow(np.float32(beta1), np.float32(t))
    root_correction2 = np.float32(math.sqrt(ONE - math.pow(np.float32(beta2), np.float32(t))))
    return float(np.float32(np.float32(rate) * root_correction2) / correction1)
