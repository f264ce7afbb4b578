"""Rows of a batch as sequences, each within one episode, for networks with a memory."""

from typing import NamedTuple

import numpy as np


class Sequences(NamedTuple):
    """Where the transitions of a batch stand in sequences of one environment and one episode each."""

    rows: np.ndarray
    """int64 ``(n_sequences, length + 1)``: the rows ``i`` of each sequence, in the order of time, then ``N + i`` of the
    last one, up to the end of the longest sequence: in ``[s; s']`` these are the states of the sequence, the state
    behind it, and padding"""
    firsts: np.ndarray
    """the first row of each, int64 ``(n_sequences,)``"""
    sequence: np.ndarray
    """the sequence of each row, int64 ``(N,)``"""
    step: np.ndarray
    """each row's place in it, int64 ``(N,)``"""


def sequences(env: np.ndarray, episode_starts: np.ndarray) -> Sequences:
    """Cut a batch into sequences.

    :param env: the environment of each row, ``(N,)``; the rows of one environment come in the order of time
    :param episode_starts: whether a row is the first of an episode, bool ``(N,)``
    """
    n = len(env)
    order = np.argsort(env, kind="stable")
    begins = episode_starts[order].copy()
    begins[0] = True
    begins[1:] |= env[order][1:] != env[order][:-1]
    first_places = np.flatnonzero(begins)
    sequence, step = np.empty(n, np.int64), np.empty(n, np.int64)
    sequence[order] = np.cumsum(begins) - 1
    step[order] = np.arange(n) - first_places[sequence[order]]
    lasts = order[np.append(first_places[1:], n) - 1]
    rows = np.repeat(n + lasts[:, None], step.max() + 2, axis=1)
    rows[sequence, step] = np.arange(n)
    return Sequences(rows, order[first_places], sequence, step)
