"""Splitting a batch into sequences, one for each episode of each environment, for recurrent networks."""

from typing import NamedTuple

import numpy as np


class Sequences(NamedTuple):
    """A batch of ``N`` transitions as sequences, each of one environment and one episode."""

    padded_rows: np.ndarray
    """int64 ``(n_sequences, max_length + 1)``: indices into the concatenated observations ``[s; s']``. Each sequence
    lists its rows ``i`` in the order of time. Then ``N + i`` of its last row, which is the observation that follows the
    sequence, is repeated as padding"""
    first_rows: np.ndarray
    """the first row of each sequence, int64 ``(n_sequences,)``"""
    sequence: np.ndarray
    """the sequence that each row belongs to, int64 ``(N,)``"""
    step: np.ndarray
    """the position of each row in its sequence, int64 ``(N,)``"""


def split_into_sequences(env: np.ndarray, episode_starts: np.ndarray) -> Sequences:
    """Split a batch wherever the environment changes or an episode starts.

    :param env: the environment of each row, ``(N,)``; the rows of one environment are in the order of time
    :param episode_starts: whether a row is the first of an episode, bool ``(N,)``
    :return: the sequences
    """
    n = len(env)
    # one environment after another, each in the order of time
    order = np.argsort(env, kind="stable")
    is_first = episode_starts[order]
    is_first[0] = True
    is_first[1:] |= env[order][1:] != env[order][:-1]
    starts = np.flatnonzero(is_first)
    sequence = np.empty(n, np.int64)
    sequence[order] = np.cumsum(is_first) - 1
    step = np.empty(n, np.int64)
    step[order] = np.arange(n) - starts[sequence[order]]
    last_rows = order[np.append(starts[1:], n) - 1]
    padded_rows = np.repeat(n + last_rows[:, None], step.max() + 2, axis=1)
    padded_rows[sequence, step] = np.arange(n)
    return Sequences(padded_rows, order[starts], sequence, step)
