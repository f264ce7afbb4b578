"""From the episodes of one run to numbers: final score, area under the curve, learning curve, steps to a threshold.

A run is three vectors, one entry an episode that finished, in the order in which they finished: ``ends``, the step of
the run at which it ended (never falling: with several environments two may end at once), ``returns``, its undiscounted
sum of rewards, and ``lengths``, its steps. An episode that the budget cut off is in none of them.
"""

import numpy as np

N_POINTS = 100
"""points of a learning curve"""
WINDOW = 0.05
"""share of a run's steps that a point of its learning curve averages over"""
FINAL_SHARE = 0.1
"""share of the steps so far that a final score averages over"""
N_EPISODES = 100
"""how many of the last episodes have to reach a threshold together"""
MIN_EPISODES = 20
"""how many of them are enough while there are not yet as many"""


def final_score(ends: np.ndarray, returns: np.ndarray, n_steps: int) -> float:
    """Average the returns of the episodes that ended in the last ``FINAL_SHARE`` of the first ``n_steps`` steps.

    With fewer steps than the run had it gives the score at that step, from what was known by then: 40,000 asks for the
    episodes that ended in (36,000, 40,000]. Where none did, it is the return of the last one that ended before, as in
    :func:`learning_curve`; where none ended at all, NaN: such a run has no score, and :mod:`.statistics` rejects it.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param n_steps: the step at which the score is asked for
    :return: in units of return
    :raises ValueError: if the shapes differ, or the ends fall
    """
    return float(learning_curve(ends, returns, np.array([n_steps]), max(1, round(FINAL_SHARE * n_steps)))[0])


def curve_grid(n_steps: int) -> np.ndarray:
    """Give the steps at which the learning curve of a run is drawn: ``N_POINTS`` of them, ``(N_POINTS,)``."""
    return np.linspace(n_steps / N_POINTS, n_steps, N_POINTS).round().astype(np.int64)


def curve_window(n_steps: int) -> int:
    """Give the steps that a point of the learning curve of a run looks back."""
    return max(1, round(WINDOW * n_steps))


def area_under_curve(ends: np.ndarray, returns: np.ndarray, n_steps: int) -> float:
    """Average the learning curve over :func:`curve_grid`: the area under what is drawn, divided by the run's steps.

    Learning sooner raises it, as ending higher does. Before the first end of an episode the curve is at that episode's
    return, so that what is not yet known spares nobody its beginning.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param n_steps: steps of the run
    :return: in units of return; NaN where no episode ended
    :raises ValueError: if the shapes differ, or the ends fall
    """
    curve = learning_curve(ends, returns, curve_grid(n_steps), curve_window(n_steps))
    return float(np.where(np.isnan(curve), returns[0], curve).mean()) if len(returns) else np.nan


def learning_curve(ends: np.ndarray, returns: np.ndarray, grid: np.ndarray, window: int) -> np.ndarray:
    r"""Average, at every step :math:`t` of a grid, the returns of the episodes that ended in :math:`(t - w, t]`.

    Where none did, the return of the last episode that ended before is carried forward. Nothing after :math:`t` enters.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param grid: the steps :math:`t`, ``(n_points,)``
    :param window: :math:`w`, steps, at least 1
    :return: ``(n_points,)``, in units of return; NaN before the first end of an episode
    :raises ValueError: if the shapes are wrong, the ends fall, or the window is empty
    """
    _check_episodes(ends, returns)
    _check_vectors(grid=grid)
    if window < 1:
        raise ValueError(f"window: expected at least one step, got {window}")
    stops = np.searchsorted(ends, grid, side="right")
    starts = np.minimum(np.searchsorted(ends, grid - window, side="right"), stops - 1)
    means = [returns[start:stop].mean() if stop else np.nan for start, stop in zip(starts, stops, strict=True)]
    return np.array(means, dtype=np.float64)


def steps_to_threshold(ends: np.ndarray, returns: np.ndarray, threshold: float) -> float:
    """Find the first step at which the mean return of the last ``N_EPISODES`` episodes is at least ``threshold``.

    While there are not yet as many, that of all, from ``MIN_EPISODES`` on.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param threshold: in units of return
    :return: a step; infinity where the run never got there
    :raises ValueError: if the shapes differ, or the ends fall
    """
    _check_episodes(ends, returns)
    totals = np.cumsum(returns, dtype=np.float64)
    totals[N_EPISODES:] -= totals[:-N_EPISODES].copy()
    counts = np.minimum(np.arange(1, len(returns) + 1), N_EPISODES)
    reached = (counts >= MIN_EPISODES) & (totals >= threshold * counts)
    return float(ends[np.argmax(reached)]) if reached.any() else np.inf


def _check_episodes(ends: np.ndarray, returns: np.ndarray) -> None:
    _check_vectors(ends=ends, returns=returns)
    if np.any(np.diff(ends) < 0):
        raise ValueError("ends: expected steps that never fall: sort the episodes by the step at which they ended")


def _check_vectors(**arrays: np.ndarray) -> None:
    n = next(iter(arrays.values())).shape[:1]
    for name, array in arrays.items():
        if array.ndim != 1 or array.shape != n:
            raise ValueError(f"{name}: expected a vector, as long as those beside it {n}, got the shape {array.shape}")
