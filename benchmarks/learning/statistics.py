"""Statistics of the scores of many runs, with confidence intervals.

A *sample* is a vector with the scores of the runs of one arm on one environment, ``(n_runs,)``. :data:`Scores` are
either one sample, or a list of samples with one per environment. In a list, all scores must have the same scale, runs
are resampled within each environment (the stratified bootstrap), and all environments have equal weight. Two arms are
never paired by seed.

Intervals are the 2.5% and 97.5% quantiles of the statistic over resampled runs (the percentile bootstrap). With few
runs they contain the true value somewhat less often than in 95% of all cases. They generalise to other seeds, not to
other environments.

Source: Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical Precipice* (NeurIPS 2021),
https://arxiv.org/abs/2108.13264: interquartile mean, stratified bootstrap, probability of improvement. All randomness
comes from the generator that the caller passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

Scores = np.ndarray | Sequence[np.ndarray]
"""One sample ``(n_runs,)``, or a list of samples with one per environment."""


@dataclass(frozen=True)
class Estimate:
    """An estimate from runs, with its 95% interval.

    :param value: the estimate
    :param low: lower end of the interval
    :param high: upper end of the interval
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Band:
    """A curve estimated from runs, with a pointwise 95% interval.

    :param value: the estimates, ``(n_points,)``
    :param low: lower ends, ``(n_points,)``
    :param high: upper ends, ``(n_points,)``
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(scores: Scores) -> float:
    """Compute the interquartile mean: the mean of the middle half of the runs of all environments together.

    A quarter of the runs, rounded down, is cut off at either end. With fewer than four runs it is the mean.

    :param scores: the scores; infinite ones (a threshold never reached) make it infinite unless they are cut off
    :raises ValueError: if there are no scores, the shapes are wrong, a score is NaN, or environments differ in their
        numbers of runs
    """
    samples = _samples("scores", scores, min_runs=1)
    _check_equal_runs("scores", samples)
    return float(_pooled_iqm(*samples))


def iqm_interval(scores: Scores, rng: np.random.Generator, n_resamples: int = 10_000) -> Estimate:
    """Estimate the interquartile mean with its interval, see :func:`iqm`.

    :param scores: the scores
    :param rng: random generator
    :param n_resamples: number of bootstrap resamples
    :raises ValueError: as :func:`iqm`, and if an environment has a single run
    """
    samples = _samples("scores", scores)
    _check_equal_runs("scores", samples)
    return _estimate(samples, _pooled_iqm, rng, n_resamples)


def iqm_difference(x: Scores, y: Scores, rng: np.random.Generator, n_resamples: int = 10_000) -> Estimate:
    r"""Estimate :math:`\operatorname{IQM}(x) - \operatorname{IQM}(y)`, in units of score.

    :param x: finite scores of one arm
    :param y: finite scores of the other arm, on the same environments
    :param rng: random generator
    :param n_resamples: number of bootstrap resamples
    :raises ValueError: as :func:`iqm_interval`, and if a score is infinite or the environments differ in number
    """
    xs, ys = _two_arms(x, y)
    for name, samples in (("x", xs), ("y", ys)):
        _check_equal_runs(name, samples)
        _check_finite(name, samples)
    return _estimate(xs + ys, _difference_of_halves, rng, n_resamples)


def probability_of_improvement(x: Scores, y: Scores, rng: np.random.Generator, n_resamples: int = 10_000) -> Estimate:
    r"""Estimate :math:`P(X > Y) + P(X = Y) / 2` for a run of each arm, averaged over environments.

    On one environment it is the Mann-Whitney statistic :math:`U / (n_x n_y)`. If every run of ``x`` is above every run
    of ``y``, the interval is [1, 1], since resampling cannot change that. See also :func:`permutation_test`.

    :param x: scores of one arm; the arms may have different numbers of runs
    :param y: scores of the other arm, on the same environments in the same order
    :param rng: random generator
    :param n_resamples: number of bootstrap resamples
    :raises ValueError: if the shapes are wrong, a score is NaN, an environment has a single run, or the environments
        differ in number
    """
    xs, ys = _two_arms(x, y)
    return _estimate(xs + ys, _improvement_over_halves, rng, n_resamples)


def permutation_test(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, n_resamples: int = 9_999) -> float:
    r"""Test on one environment whether two arms differ, by the difference of their interquartile means.

    If the arms did not differ, their runs would be exchangeable. The p-value is twice the share of the permutations
    whose difference is at least as large as the observed one, or at least as small if that share is smaller. If there
    are at most ``n_resamples`` permutations, all of them are used. Otherwise ``n_resamples`` are drawn and the observed
    one is added, so the p-value is never 0.

    :param x: finite scores of one arm, ``(n_runs_x,)``
    :param y: finite scores of the other arm, ``(n_runs_y,)``
    :param rng: random generator
    :param n_resamples: number of random permutations
    :return: the two-sided p-value, in (0, 1]
    :raises ValueError: if the shapes are wrong, a score is not finite, or an arm has a single run
    """
    samples = _samples("x", [x]) + _samples("y", [y])
    for name, sample in zip("xy", samples, strict=True):
        _check_finite(name, (sample,))
    test = stats.permutation_test(
        samples, _difference_of_halves, vectorized=True, n_resamples=n_resamples, alternative="two-sided", rng=rng
    )
    return float(test.pvalue)


def holm(p_values: np.ndarray, n_tests: int) -> np.ndarray:
    r"""Correct p-values for the number of tests by Holm's method.

    With n tests, the k-th smallest p-value is multiplied by n - k + 1; none becomes smaller than one before it, or
    larger than 1. With all that stay below 0.05, the probability that any of these tests is wrong is at most 0.05.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (Scandinavian Journal of Statistics, 1979).

    :param p_values: the p-values, ``(n,)``
    :param n_tests: number of tests, with those that have no p-value yet
    :return: the corrected ones in the same order, ``(n,)``
    """
    order = np.argsort(p_values)
    corrected = np.maximum.accumulate(p_values[order] * np.arange(n_tests, n_tests - len(p_values), -1))
    result = np.empty(len(p_values))
    result[order] = np.minimum(corrected, 1.0)
    return result


def expected_best(scores: np.ndarray) -> np.ndarray:
    r"""Compute the expected best score of k of the scores, drawn without replacement, for each k.

    The i-th smallest of n scores is the best of :math:`\binom{i - 1}{k - 1}` of the :math:`\binom{n}{k}` choices.

    Source: Dodge et al., *Show Your Work: Improved Reporting of Experimental Results* (EMNLP 2019),
    https://arxiv.org/abs/1909.03004; there with replacement.

    :param scores: scores of trials, ``(n,)``
    :return: for k from 1 to n, ``(n,)``
    """
    n = len(scores)
    ranks, k = np.arange(1, n + 1), np.arange(1, n + 1)[:, None]
    is_best = special.comb(ranks - 1, k - 1) / special.comb(n, k)
    return np.asarray(is_best @ np.sort(scores))


def iqm_curve(curves: np.ndarray | Sequence[np.ndarray], rng: np.random.Generator, n_resamples: int = 2_000) -> Band:
    """Estimate the interquartile mean over runs at every point of their learning curves.

    Whole runs are resampled, within each environment. The result is NaN at points where a run has no value yet (NaN).

    :param curves: learning curves of the runs of one arm on one environment, ``(n_runs, n_points)``, or a list with
        those on several environments
    :param rng: random generator
    :param n_resamples: number of bootstrap resamples
    :return: the means, ``(n_points,)``
    :raises ValueError: if a shape is wrong, or there is a single run on an environment
    """
    by_environment = (curves,) if isinstance(curves, np.ndarray) else tuple(curves)
    for each in by_environment:
        if each.ndim != 2 or len(each) < 2 or not each.size:
            raise ValueError(f"curves: expected (n_runs, n_points) with at least 2 runs, got the shape {each.shape}")
    known = ~np.isnan(np.concatenate(by_environment)).any(axis=0)
    band = np.full((3, len(known)), np.nan)
    if known.any():
        found = _band(tuple(each[:, known].T for each in by_environment), _pooled_iqm, rng, n_resamples)
        band[:, known] = found.value, found.low, found.high
    return Band(*band)


Statistic = Callable[..., np.ndarray]
"""Reduces samples ``(..., n_runs)`` to ``(...)``; scipy calls it with ``axis=-1``."""


def _pooled_iqm(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis))


def _difference_of_halves(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    n = len(samples) // 2
    return np.asarray(_pooled_iqm(*samples[:n], axis=axis) - _pooled_iqm(*samples[n:], axis=axis))


def _improvement_over_halves(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    n = len(samples) // 2
    return np.asarray(np.mean([_improvement(x, y) for x, y in zip(samples[:n], samples[n:], strict=True)], axis=0))


def _improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # (..., n_runs_x, n_runs_y); ties count only in the second mean
    x, y = x[..., :, np.newaxis], y[..., np.newaxis, :]
    return np.asarray(np.mean(x > y, axis=(-2, -1)) + np.mean(x >= y, axis=(-2, -1))) / 2


def _estimate(
    samples: tuple[np.ndarray, ...], statistic: Statistic, rng: np.random.Generator, n_resamples: int
) -> Estimate:
    band = _band(samples, statistic, rng, n_resamples)
    return Estimate(float(band.value), float(band.low), float(band.high))


def _band(samples: tuple[np.ndarray, ...], statistic: Statistic, rng: np.random.Generator, n_resamples: int) -> Band:
    # scipy also computes an interval, which is not used, and interpolates between infinite values for it
    with np.errstate(invalid="ignore"):
        resampled = stats.bootstrap(
            samples, statistic, n_resamples=n_resamples, vectorized=True, axis=-1, method="percentile", rng=rng
        ).bootstrap_distribution
    low, high = np.quantile(resampled, (0.025, 0.975), axis=-1, method="inverted_cdf")
    return Band(statistic(*samples), low, high)


def _two_arms(x: Scores, y: Scores) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    xs, ys = _samples("x", x), _samples("y", y)
    if len(xs) != len(ys):
        raise ValueError(f"y: expected the {len(xs)} environments of x, got {len(ys)} environments")
    return xs, ys


def _samples(name: str, scores: Scores, min_runs: int = 2) -> tuple[np.ndarray, ...]:
    samples = (scores,) if isinstance(scores, np.ndarray) else tuple(scores)
    if not samples:
        raise ValueError(f"{name}: expected the scores of at least one environment, got none")
    for sample in samples:
        if np.ndim(sample) != 1 or len(sample) < min_runs:
            raise ValueError(
                f"{name}: expected a vector (n_runs,) of at least {min_runs} runs, or a list with such a vector per "
                f"environment, got the shape {np.shape(sample)}"
            )
        if np.isnan(sample).any():
            raise ValueError(f"{name}: a score is NaN; remove runs in which no episode ended")
    return samples


def _check_equal_runs(name: str, samples: tuple[np.ndarray, ...]) -> None:
    n_runs = [len(sample) for sample in samples]
    if len(set(n_runs)) > 1:
        raise ValueError(
            f"{name}: expected equally many runs on every environment, got {n_runs}; use {min(n_runs)} of each"
        )


def _check_finite(name: str, samples: tuple[np.ndarray, ...]) -> None:
    if not all(np.isfinite(sample).all() for sample in samples):
        raise ValueError(f"{name}: a score is infinite; use probability_of_improvement instead of a difference")
