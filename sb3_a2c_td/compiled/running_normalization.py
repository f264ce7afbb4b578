"""SB3's ``VecNormalize`` in compiled code, bit for bit: sums keep numpy's order of additions."""

import math
from typing import NamedTuple

import numpy as np

from sb3_a2c_td.engines.kernel_cache import kernel_compiler

compiled = kernel_compiler()


class CompiledNormalization(NamedTuple):
    """The statistics and settings of a ``VecNormalize``; the statistics are updated in place."""

    is_wrapped: bool
    """whether there is a ``VecNormalize``"""
    updates: bool
    """whether statistics are updated (``training``)"""
    observations: bool
    """whether observations are normalized (``norm_obs``)"""
    rewards: bool
    """whether rewards are normalized (``norm_reward``)"""
    observation_mean: np.ndarray
    """``(n_inputs,)`` float64"""
    observation_var: np.ndarray
    observation_count: np.ndarray
    """``(1,)`` float64"""
    return_mean: np.ndarray
    """of the discounted returns, ``(1,)`` float64"""
    return_var: np.ndarray
    return_count: np.ndarray
    returns: np.ndarray
    """discounted returns of the running episodes, ``(n,)`` float64"""
    gamma: float
    clip_obs: float
    clip_reward: float
    epsilon: float


@compiled
def normalize_step(normalization, observations, next_observations, rewards, ended):
    """Update the statistics with a step, and normalize it in place, as ``VecNormalize.step_wait`` does.

    :param observations: ``(n, n_inputs)`` float32; where an episode ended, the first ones of the next episode
    :param next_observations: the same; where an episode ended, its last ones
    :param rewards: ``(n,)`` float32
    :param ended: whether an episode ended, bool ``(n,)``
    """
    if normalization.observations:
        if normalization.updates:
            update_columns(
                normalization.observation_mean,
                normalization.observation_var,
                normalization.observation_count,
                observations,
            )
        normalize_rows(normalization, observations)
        normalize_rows(normalization, next_observations)
    if normalization.updates:
        for env in range(len(rewards)):
            normalization.returns[env] = normalization.returns[env] * normalization.gamma + rewards[env]
        update_returns(normalization)
    if normalization.rewards:
        std = math.sqrt(normalization.return_var[0] + normalization.epsilon)
        for env in range(len(rewards)):
            scaled = rewards[env] / std
            rewards[env] = min(max(scaled, -normalization.clip_reward), normalization.clip_reward)
    for env in range(len(rewards)):
        if ended[env]:
            normalization.returns[env] = 0.0


@compiled
def normalize_rows(normalization, rows):
    """Normalize observations in place."""
    for i in range(rows.shape[1]):
        std = math.sqrt(normalization.observation_var[i] + normalization.epsilon)
        for row in range(len(rows)):
            scaled = (rows[row, i] - normalization.observation_mean[i]) / std
            rows[row, i] = min(max(scaled, -normalization.clip_obs), normalization.clip_obs)


@compiled
def update_columns(mean, var, count, rows):
    """Update running statistics with ``(n, n_inputs)`` float32 observations; see ``RunningMeanStd.update``."""
    n = len(rows)
    squares = np.empty(n, rows.dtype)
    for i in range(rows.shape[1]):
        column = rows[:, i]
        batch_mean = column_sum(column, rows.shape[1] == 1) / np.float32(n)
        for row in range(n):
            deviation = column[row] - batch_mean
            squares[row] = deviation * deviation
        batch_var = column_sum(squares, rows.shape[1] == 1) / np.float32(n)
        mean[i], var[i] = merged(mean[i], var[i], count[0], float(batch_mean), float(batch_var * np.float32(n)), n)
    count[0] += n


@compiled
def update_returns(normalization):
    """Update the statistics of the discounted returns."""
    returns, n = normalization.returns, len(normalization.returns)
    batch_mean = pairwise_sum(returns) / n
    batch_var = pairwise_sum((returns - batch_mean) * (returns - batch_mean)) / n
    mean, var, count = normalization.return_mean, normalization.return_var, normalization.return_count
    mean[0], var[0] = merged(mean[0], var[0], count[0], batch_mean, batch_var * n, n)
    count[0] += n


@compiled
def merged(mean, var, count, batch_mean, batch_m2, n):
    """Merge the statistics of ``n`` numbers; see ``RunningMeanStd.update_from_moments``."""
    delta = batch_mean - mean
    total = count + n
    m2 = var * count + batch_m2 + delta * delta * count * n / total
    return mean + delta * n / total, m2 / total


@compiled
def column_sum(column, is_contiguous):
    """Sum one column of a matrix as ``np.sum(matrix, axis=0)`` does: row by row, unless it is the only column."""
    if is_contiguous:
        return pairwise_sum(column)
    total = column[0]
    for row in range(1, len(column)):
        total += column[row]
    return total


@compiled
def pairwise_sum(numbers):
    """Sum a contiguous vector in the order in which ``np.sum`` does."""
    n = len(numbers)
    if n > 128:
        half = n // 2
        half -= half % 8
        return pairwise_sum(numbers[:half]) + pairwise_sum(numbers[half:])
    if n < 8:
        total = numbers[0]
        for i in range(1, n):
            total += numbers[i]
        return total
    sums = numbers[:8].copy()
    end = n - n % 8
    for begin in range(8, end, 8):
        for k in range(8):
            sums[k] += numbers[begin + k]
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for i in range(end, n):
        total += numbers[i]
    return total
