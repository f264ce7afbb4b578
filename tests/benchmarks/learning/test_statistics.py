import itertools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.learning.statistics import (
    Band,
    Estimate,
    expected_best,
    holm,
    iqm,
    iqm_curve,
    iqm_difference,
    iqm_interval,
    permutation_test,
    probability_of_improvement,
)

scores = st.lists(st.integers(-100, 100), min_size=2, max_size=20).map(lambda values: np.array(values, dtype=float))
ONE_TO_EIGHT = np.arange(1.0, 9.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bounds(estimate: Estimate | Band) -> np.ndarray:
    return np.array([estimate.low, estimate.high])


# by hand


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 100], 4.5),  # 3 4 5 6
        ([100, 1, 7, 3, 2], 4.0),  # one of five cut off at either end: 2 3 7
        ([1, 2, 6], 3.0),  # too few to cut
        ([5], 5.0),
        ([1, 2, 3, np.inf], 2.5),
        ([1, 2, np.inf, np.inf], np.inf),
    ],
)
def test_iqm_by_hand(sample: list[float], expected: float) -> None:
    assert iqm(np.array(sample)) == expected


def test_iqm_pools_the_environments() -> None:
    # 1 2 | 3 4 5 6 | 7 8
    assert iqm([np.array([1.0, 4, 5, 8]), np.array([2.0, 3, 6, 7])]) == 4.5


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([3, 4], [1, 2], 1.0),
        ([1, 2], [3, 4], 0.0),
        ([1, 3], [2, 2, 2], 0.5),
        ([1, 2], [1, 1, 2, 0], (0.5 + 0.5 + 0 + 1 + 1 + 1 + 0.5 + 1) / 8),
        ([np.inf, 1], [np.inf, 2], (0.5 + 1 + 0 + 0) / 4),
    ],
)
def test_probability_of_improvement_by_hand(x: list[float], y: list[float], expected: float) -> None:
    assert probability_of_improvement(np.array(x), np.array(y), rng()).value == expected


def test_probability_of_improvement_averages_the_environments() -> None:
    x, y = [np.array([3.0, 4]), np.array([1.0, 3])], [np.array([1.0, 2]), np.array([2.0, 2, 2])]
    assert probability_of_improvement(x, y, rng()).value == 0.75


def test_iqm_difference_by_hand() -> None:
    assert iqm_difference(ONE_TO_EIGHT, ONE_TO_EIGHT[:4] * 10, rng()).value == 4.5 - 25


def test_permutation_test_by_hand() -> None:
    # of the 20 ways to divide six runs between two arms, one puts the best three into the first, one into the second
    assert permutation_test(np.array([4.0, 5, 6]), np.array([1.0, 2, 3]), rng()) == 2 / 20
    assert permutation_test(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), rng()) == 2 / 20
    assert permutation_test(np.array([4.0, 3, 6]), np.array([1.0, 2, 5]), rng()) == 8 / 20
    assert permutation_test(np.full(5, 500.0), np.full(5, 500.0), rng()) == 1


# against the definitions


@given(scores, st.integers(-50, 50), st.integers(1, 9))
def test_iqm_is_equivariant(sample: np.ndarray, shift: int, scale: int) -> None:
    assert sample.min() <= iqm(sample) <= sample.max()
    assert iqm(scale * sample + shift) == pytest.approx(scale * iqm(sample) + shift)
    assert iqm(-sample) == pytest.approx(-iqm(sample))


@settings(max_examples=30)
@given(scores, st.integers(-50, 50), st.integers(1, 9))
def test_intervals_are_equivariant(sample: np.ndarray, shift: int, scale: int) -> None:
    moved = bounds(iqm_interval(scale * sample + shift, rng(), 200))
    np.testing.assert_allclose(moved, scale * bounds(iqm_interval(sample, rng(), 200)) + shift, atol=1e-9)


@settings(max_examples=30)
@given(scores, scores)
def test_probabilities_of_improvement_sum_to_one(x: np.ndarray, y: np.ndarray) -> None:
    one, other = probability_of_improvement(x, y, rng(), 200), probability_of_improvement(y, x, rng(), 200)
    assert one.value + other.value == pytest.approx(1)
    assert one.value == pytest.approx(stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))
    assert iqm_difference(x, y, rng(), 200).value == pytest.approx(iqm(x) - iqm(y))


@settings(max_examples=30)
@given(scores.filter(lambda x: len(x) <= 5), scores.filter(lambda y: len(y) <= 5))
def test_permutation_test_matches_enumeration(x: np.ndarray, y: np.ndarray) -> None:
    pooled, observed = np.concatenate([x, y]), iqm(x) - iqm(y)
    deals = [set(deal) for deal in itertools.combinations(range(len(pooled)), len(x))]
    differences = [iqm(pooled[[*deal]]) - iqm(np.delete(pooled, [*deal])) for deal in deals]
    # equal means may differ by rounding
    larger = np.mean([difference >= observed - 1e-9 for difference in differences])
    smaller = np.mean([difference <= observed + 1e-9 for difference in differences])
    assert permutation_test(x, y, rng()) == pytest.approx(min(1, 2 * min(larger, smaller)))


def test_holm_by_hand() -> None:
    # 4 x 0.01; 3 x 0.02; the larger of 2 x 0.025 and the one before it; 0.9
    np.testing.assert_allclose(holm(np.array([0.025, 0.9, 0.01, 0.02]), n_tests=4), [0.06, 0.9, 0.04, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7]), n_tests=2), [1.0, 1.0])
    # two more tests, without a p-value yet: 4 x 0.01; 3 x 0.02
    np.testing.assert_allclose(holm(np.array([0.02, 0.01]), n_tests=4), [0.06, 0.04])


def test_expected_best_matches_enumeration() -> None:
    sample = np.array([3.0, -1.0, 4.0, 1.0, 5.0])
    best = [np.mean([max(chosen) for chosen in itertools.combinations(sample, k)]) for k in range(1, 6)]
    np.testing.assert_allclose(expected_best(sample), best)


def test_random_permutations_match_all_permutations() -> None:
    x, y = rng().normal(0.5, 1, 8), rng(1).normal(0, 1, 8)
    exact = permutation_test(x, y, rng(), n_resamples=12_870)
    assert 0.02 < exact < 0.5
    # five standard deviations of the share among 9,999 draws, plus the observed one, which is always counted
    tolerance = 5 * np.sqrt(exact * (1 - exact) / 9_999) + 1e-4
    assert permutation_test(x, y, rng()) == pytest.approx(exact, abs=tolerance)


def test_p_values_of_equal_arms_are_uniform() -> None:
    generator = rng()
    p_values = [permutation_test(*generator.normal(size=(2, 6)), generator, 1000) for _ in range(100)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_bootstrap_of_two_runs_matches_enumeration() -> None:
    # 0 or 1 if the same run is drawn twice, each in a quarter of the resamples; otherwise 0.5
    assert iqm_interval(np.array([0.0, 1.0]), rng()) == Estimate(0.5, 0, 1)
    # the difference is 1 and -1 in a sixteenth of the resamples each, more than 2.5%
    assert iqm_difference(np.array([0.0, 1.0]), np.array([0.0, 1.0]), rng()) == Estimate(0, -1, 1)


def test_runs_are_resampled_within_their_environment() -> None:
    # a resampling across environments would not leave as many zeros as ones
    split = [np.zeros(10), np.ones(10)]
    assert iqm_interval(split, rng()) == Estimate(0.5, 0.5, 0.5)
    assert iqm_difference(split, [np.zeros(4), np.zeros(4)], rng()) == Estimate(0.5, 0.5, 0.5)
    assert probability_of_improvement(split, [np.ones(5), np.zeros(3)], rng()) == Estimate(0.5, 0.5, 0.5)


@given(st.floats(-1e6, 1e6), st.integers(2, 20))
@settings(max_examples=30)
def test_equal_scores_give_the_degenerate_interval(score: float, n_runs: int) -> None:
    estimate = iqm_interval(np.full(n_runs, score), rng(), 200)
    assert estimate.low == estimate.value == estimate.high == pytest.approx(score)
    assert iqm_difference(np.full(n_runs, score), np.full(n_runs, score), rng(), 200) == Estimate(0, 0, 0)
    assert probability_of_improvement(np.full(n_runs, score), np.full(3, score), rng(), 200) == Estimate(0.5, 0.5, 0.5)


def test_infinite_scores_give_infinite_bounds() -> None:
    some = iqm_interval(np.array([1.0, 2, 3, 4, 5, 6, 7, np.inf, np.inf, np.inf]), rng())
    assert (some.value, some.high) == (np.inf, np.inf)
    assert 1 < some.low < 7
    assert iqm_interval(np.full(5, np.inf), rng()) == Estimate(np.inf, np.inf, np.inf)


# of 400 intervals, 95% ± 4.4% (four standard deviations of a binomial share) should contain the true value; the
# percentile bootstrap of 40 runs may lose another 1.5%
@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (lambda generator: iqm_interval(generator.normal(size=40), generator, 400), 0.0),
        (lambda generator: iqm_interval([*generator.normal(size=(2, 20))], generator, 400), 0.0),
        (lambda generator: iqm_difference(generator.normal(1, 1, 40), generator.normal(size=40), generator, 400), 1.0),
        (
            lambda generator: probability_of_improvement(
                generator.normal(1, 1, 40), generator.normal(size=40), generator, 400
            ),
            stats.norm.cdf(1 / np.sqrt(2)),
        ),
    ],
    ids=["iqm", "iqm of two environments", "difference", "improvement"],
)
def test_intervals_cover_the_truth(interval: Callable[[np.random.Generator], Estimate], truth: float) -> None:
    generator = rng()
    estimates = [interval(generator) for _ in range(400)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.95 - 0.044 - 0.015 < covered < 0.95 + 0.044


def test_iqm_curve_matches_the_interval_at_each_point() -> None:
    curves = rng().normal(size=(20, 3)) + np.arange(3)
    band = iqm_curve(curves, rng())
    for point in range(3):
        alone = iqm_interval(curves[:, point], rng(), 2000)
        assert band.value[point] == pytest.approx(alone.value)
        # the same runs are drawn for all points
        np.testing.assert_allclose(bounds(band)[:, point], bounds(alone))


def test_iqm_curve_starts_when_all_runs_have_a_value() -> None:
    curves = np.array([[np.nan, 1.0, 2.0], [np.nan, np.nan, 4.0], [np.nan, 3.0, 6.0]])
    band = iqm_curve(curves, rng())
    for values in (band.value, band.low, band.high):
        np.testing.assert_array_equal(np.isnan(values), [True, True, False])
    assert band.value[2] == 4
    assert np.isnan(iqm_curve(np.full((2, 4), np.nan), rng()).value).all()


@pytest.mark.parametrize(
    "estimate",
    [
        lambda generator: iqm_interval(ONE_TO_EIGHT**2, generator, 100),
        lambda generator: iqm_difference(ONE_TO_EIGHT**2, ONE_TO_EIGHT, generator, 100),
        lambda generator: probability_of_improvement(ONE_TO_EIGHT + 0.5, ONE_TO_EIGHT, generator, 100),
        lambda generator: permutation_test(ONE_TO_EIGHT + 0.5, ONE_TO_EIGHT, generator, 100),
        lambda generator: bounds(iqm_curve(ONE_TO_EIGHT[:, np.newaxis] ** 2, generator, 100)).tolist(),
    ],
)
def test_results_depend_only_on_the_generator(estimate: Callable[[np.random.Generator], object]) -> None:
    assert estimate(rng(3)) == estimate(rng(3))
    assert len({str(estimate(rng(seed))) for seed in range(20)}) > 1


# compared with rliable, the implementation of the paper's authors


@pytest.fixture
def metrics() -> ModuleType:
    return pytest.importorskip("rliable.metrics")


@pytest.fixture
def library() -> ModuleType:
    try:
        return pytest.importorskip("rliable.library")
    except TypeError as error:
        pytest.skip(f"rliable's bootstrap does not import here (its arch < 8 needs pandas < 3): {error}")


@pytest.fixture
def arms() -> tuple[np.ndarray, np.ndarray]:
    """Scores of two arms as rliable takes them, ``(n_runs, n_environments)``, with ties."""
    generator = rng(4)
    return generator.normal(0.6, 1, (12, 3)).round(1), generator.normal(0, 1, (10, 3)).round(1)


def assert_intervals_agree(ours: Estimate | Band, theirs: np.ndarray, n_resamples: int, resolution: float) -> None:
    """Compare within five standard deviations of the difference of two bootstraps.

    A quantile at p of R draws has the standard deviation √(p(1 - p)/R) / f(q), where f is their density; for normal
    draws and p = 0.025 it is 2.67/√R of theirs, and their interval is 3.92 of theirs wide. ``resolution`` is a step
    of a statistic that takes few values.
    """
    width = ours.high - ours.low
    tolerance = 5 * np.sqrt(2) * 2.67 / np.sqrt(n_resamples) * width / 3.92 + resolution
    assert np.all(np.abs(bounds(ours) - theirs.reshape(bounds(ours).shape)) <= tolerance)
    assert np.all(width > 3 * resolution)


def test_point_estimates_match_rliable(metrics: ModuleType, arms: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = arms
    assert iqm([*x.T]) == pytest.approx(metrics.aggregate_iqm(x), rel=1e-12)
    improvement = probability_of_improvement([*x.T], [*y.T], rng(), 100)
    assert improvement.value == pytest.approx(metrics.probability_of_improvement(x, y), rel=1e-12)


def test_iqm_interval_matches_rliable(
    library: ModuleType, metrics: ModuleType, arms: tuple[np.ndarray, np.ndarray]
) -> None:
    np.random.seed(0)  # noqa: NPY002 (rliable draws from the global generator)
    _, intervals = library.get_interval_estimates(
        {"x": arms[0]}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=4000
    )
    assert_intervals_agree(iqm_interval([*arms[0].T], rng()), intervals["x"], 4000, resolution=0)


def test_interval_of_improvement_matches_rliable(
    library: ModuleType, metrics: ModuleType, arms: tuple[np.ndarray, np.ndarray]
) -> None:
    np.random.seed(0)  # noqa: NPY002 (rliable draws from the global generator)
    _, intervals = library.get_interval_estimates(
        {"x,y": arms}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=1000
    )
    ours = probability_of_improvement([*arms[0].T], [*arms[1].T], rng())
    assert_intervals_agree(ours, intervals["x,y"], 1000, resolution=0)


# errors

EMPTY, MATRIX, NOT_A_NUMBER = np.array([]), np.ones((4, 3)), np.array([1.0, np.nan])
TWO = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iqm(EMPTY), r"scores: .* at least 1 runs.* got the shape \(0,\)"),
        (lambda: iqm([]), "scores: .* at least one environment, got none"),
        (lambda: iqm(MATRIX), r"scores: .* got the shape \(4, 3\)"),
        (lambda: iqm(NOT_A_NUMBER), "scores: a score is NaN"),
        (lambda: iqm([TWO, ONE_TO_EIGHT]), r"scores: .* got \[2, 8\]; use 2 of each"),
        (lambda: iqm_interval(TWO[:1], rng()), r"scores: .* at least 2 runs.* got the shape \(1,\)"),
        (lambda: iqm_interval([TWO, ONE_TO_EIGHT], rng()), r"scores: .* got \[2, 8\]"),
        (lambda: iqm_difference(TWO, TWO * np.inf, rng()), "y: a score is infinite"),
        (lambda: iqm_difference([TWO, TWO], [TWO, ONE_TO_EIGHT], rng()), "y: expected equally many runs"),
        (lambda: probability_of_improvement(EMPTY, TWO, rng()), "x: "),
        (lambda: probability_of_improvement(TWO, MATRIX, rng()), "y: "),
        (lambda: probability_of_improvement([TWO, TWO], TWO, rng()), "y: expected the 2 environments of x, got 1"),
        (lambda: permutation_test(MATRIX, TWO, rng()), "x: "),
        (lambda: permutation_test(TWO, EMPTY, rng()), "y: "),
        (lambda: permutation_test(TWO * np.inf, TWO, rng()), "x: a score is infinite"),
        (lambda: iqm_curve(TWO, rng()), r"curves: .* got the shape \(2,\)"),
        (lambda: iqm_curve(MATRIX[:1], rng()), r"curves: .* got the shape \(1, 3\)"),
    ],
)
def test_errors_name_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
