"""Sampling from the distributions of a finite MDP."""

import numpy as np
import numpy.typing as npt

from sb3_a2c_td.tabular.mdp import FloatArray, TabularMDP

IntArray = npt.NDArray[np.int64]


class Distributions:
    """Samples from the rows of a probability matrix by inverting their cumulative sums.

    Only the non-zero entries are kept, row by row, and the cumulative sums of row i run from i to i + 1. So a single
    ``searchsorted`` in one sorted array samples from rows with any numbers of outcomes.

    :param probabilities: ``(rows, values)``
    """

    def __init__(self, probabilities: FloatArray) -> None:
        self.rows: IntArray
        self.values: IntArray
        # contiguous rows, as numba's constants have to be
        self.rows, self.values = np.ascontiguousarray(np.nonzero(probabilities))
        self.last = np.searchsorted(self.rows, np.arange(len(probabilities)), side="right") - 1
        sums = probabilities.cumsum(axis=1)
        self.sums = self.rows + (sums / sums[:, -1:])[self.rows, self.values]

    def draw(self, rows: IntArray, uniform: FloatArray) -> IntArray:
        """Return indices into ``self.rows`` and ``self.values``, one per requested row."""
        found = np.searchsorted(self.sums, rows + uniform, side="right")
        # row + uniform may be rounded to row + 1
        return np.minimum(found, self.last[rows])


def rewards_of(mdp: TabularMDP) -> FloatArray:
    """Return the reward of every transition: its ``transition_rewards``, or else the expected rewards.

    :param mdp: the MDP
    :return: ``(S * A, S)``; state s and action a are row s * A + a
    """
    rewards = mdp.rewards[:, :, None] if mdp.transition_rewards is None else mdp.transition_rewards
    return np.broadcast_to(rewards, mdp.transitions.shape).reshape(-1, mdp.n_states)
