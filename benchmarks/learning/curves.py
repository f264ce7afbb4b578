"""Metrics of one run from its episodes: final score, area under the curve, learning curve, steps to a threshold.

The episodes of a run are two vectors with one entry per finished episode: ``ends``, the steps of the run at which
episodes ended (non-decreasing; with several environments two may end at the same step), and ``returns``, their
undiscounted sums of rewards. Unfinished episodes at the end of the run are excluded.
"""

import numpy as np

N_POINTS = 100
"""number of points of a learning curve"""
WINDOW = 0.05
"""share of a run's steps that a point of its learning curve averages over"""
FINAL_SHARE = 0.1
"""share of the steps so far that a final score averages over"""
N_EPISODES = 100
"""number of last episodes whose mean return must reach a threshold"""
MIN_EPISODES = 20
"""number of episodes that suffices before there are :data:`N_EPISODES`"""


def final_score(ends: np.ndarray, returns: np.ndarray, n_steps: int) -> float:
    """Average the returns of the episodes that ended in the last ``FINAL_SHARE`` of the first ``n_steps`` steps.

    ``n_steps`` may be less than the steps of the run: 40,000 averages over the episodes that ended in (36,000, 40,000].
    If none did, the score is the return of the last episode that ended before, as in :func:`learning_curve`. If no
    episode ended at all, it is NaN, which :mod:`.statistics` rejects.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param n_steps: step of the score
    :return: the score, in units of return
    :raises ValueError: if the shapes differ, or the ends decrease
    """
    return float(learning_curve(ends, returns, np.array([n_steps]), max(1, round(FINAL_SHARE * n_steps)))[0])


def curve_grid(n_steps: int) -> np.ndarray:
    """Return the steps of the points of a run's learning curve, ``(N_POINTS,)``."""
    return np.linspace(n_steps / N_POINTS, n_steps, N_POINTS).round().astype(np.int64)


def curve_window(n_steps: int) -> int:
    """Return the number of steps that a point of a run's learning curve averages over."""
    return max(1, round(WINDOW * n_steps))


def area_under_curve(ends: np.ndarray, returns: np.ndarray, n_steps: int) -> float:
    """Average the learning curve over :func:`curve_grid`: the area under the curve, divided by the run's steps.

    Both learning sooner and ending higher increase it. Until the first episode ends, the curve has that episode's
    return.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param n_steps: steps of the run
    :return: the area, in units of return; NaN if no episode ended
    :raises ValueError: if the shapes differ, or the ends decrease
    """
    return _mean_of_curve(ends, returns, n_steps, curve_grid(n_steps))


def second_half_area(ends: np.ndarray, returns: np.ndarray, n_steps: int) -> float:
    """Average the second half of the learning curve, which depends less on how soon a run learned.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param n_steps: steps of the run
    :return: the area, in units of return; NaN if no episode ended
    :raises ValueError: if the shapes differ, or the ends decrease
    """
    return _mean_of_curve(ends, returns, n_steps, curve_grid(n_steps)[N_POINTS // 2 :])


def learning_curve(ends: np.ndarray, returns: np.ndarray, grid: np.ndarray, window: int) -> np.ndarray:
    r"""Average, at every step :math:`t` of a grid, the returns of the episodes that ended in :math:`(t - w, t]`.

    If none did, the curve has the return of the last episode that ended before.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param grid: the steps :math:`t`, ``(n_points,)``
    :param window: :math:`w` in steps, at least 1
    :return: the curve, ``(n_points,)``, in units of return; NaN before the end of the first episode
    :raises ValueError: if the shapes are wrong, the ends decrease, or the window is empty
    """
    _check_episodes(ends, returns)
    _check_vectors(grid=grid)
    if window < 1:
        raise ValueError(f"window: expected at least one step, got {window}")
    stops = np.searchsorted(ends, grid, side="right")
    starts = np.clip(np.searchsorted(ends, grid - window, side="right"), 0, np.maximum(stops - 1, 0))
    # sums from starts to stops, and from stops to the next starts
    sums = np.add.reduceat(np.append(returns, 0.0), np.column_stack([starts, stops]).ravel())[::2]
    return np.where(stops > 0, sums / np.maximum(stops - starts, 1), np.nan)


def steps_to_threshold(ends: np.ndarray, returns: np.ndarray, threshold: float) -> float:
    """Find the first step at which the mean return of the last ``N_EPISODES`` episodes is at least ``threshold``.

    Before there are ``N_EPISODES``, the mean is over all episodes, if they are at least ``MIN_EPISODES``.

    :param ends: steps at which the episodes ended, ``(n_episodes,)``
    :param returns: their returns, ``(n_episodes,)``
    :param threshold: the threshold, in units of return
    :return: the step; infinity if the run never reached the threshold
    :raises ValueError: if the shapes differ, or the ends decrease
    """
    _check_episodes(ends, returns)
    totals = np.cumsum(returns, dtype=np.float64)
    totals[N_EPISODES:] -= totals[:-N_EPISODES].copy()
    counts = np.minimum(np.arange(1, len(returns) + 1), N_EPISODES)
    reached = (counts >= MIN_EPISODES) & (totals >= threshold * counts)
    return float(ends[np.argmax(reached)]) if reached.any() else np.inf


def _mean_of_curve(ends: np.ndarray, returns: np.ndarray, n_steps: int, grid: np.ndarray) -> float:
    curve = learning_curve(ends, returns, grid, curve_window(n_steps))
    return float(np.where(np.isnan(curve), returns[0], curve).mean()) if len(returns) else np.nan


def _check_episodes(ends: np.ndarray, returns: np.ndarray) -> None:
    _check_vectors(ends=ends, returns=returns)
    if np.any(np.diff(ends) < 0):
        raise ValueError("ends: expected non-decreasing steps; sort the episodes by the step at which they ended")


def _check_vectors(**arrays: np.ndarray) -> None:
    n = next(iter(arrays.values())).shape[:1]
    for name, array in arrays.items():
        if array.ndim != 1 or array.shape != n:
            raise ValueError(f"{name}: expected a vector of shape {n}, got the shape {array.shape}")
