import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.learning.curves import (
    area_under_curve,
    curve_grid,
    curve_window,
    final_score,
    learning_curve,
    steps_to_threshold,
)

ENDS = np.array([10, 30, 60, 90, 95, 100])
RETURNS = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 11.0])


@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [
        (100, 8.5),  # (90, 100]: 6 and 11, not the 4 that ended at 90
        (95, 5.0),  # (85.5, 95], to whole steps (85, 95]: 4 and 6, and nothing of what came later
        (80, 3.0),  # none in (72, 80]: the last one before
        (10, 1.0),  # (9, 10]
        (4, np.nan),  # none yet
    ],
)
def test_final_score_by_hand(n_steps: int, expected: float) -> None:
    assert final_score(ENDS, RETURNS, n_steps) == pytest.approx(expected, nan_ok=True)


def test_final_score_at_40k_averages_over_36k_to_40k() -> None:
    ends = np.arange(1, 100_001)
    assert final_score(ends, ends.astype(float), 40_000) == np.mean(np.arange(36_001, 40_001))
    assert final_score(ends, ends.astype(float), 100_000) == np.mean(np.arange(90_001, 100_001))


def test_area_under_curve_by_hand() -> None:
    # 1 up to step 39, including the steps before the first end at 10; 5 from 40 to 99; -2 at step 100
    area = area_under_curve(np.array([10, 40, 100]), np.array([1.0, 5.0, -2.0]), 100)
    assert area == pytest.approx((39 * 1 + 60 * 5 - 2) / 100)


def test_area_under_curve_matches_the_learning_curve() -> None:
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(1, 20, 1_000))
    returns = rng.normal(size=1_000)
    drawn = learning_curve(ends, returns, curve_grid(ends[-1]), curve_window(ends[-1]))
    assert not np.isnan(drawn).any()
    assert area_under_curve(ends, returns, ends[-1]) == pytest.approx(drawn.mean())


def test_long_episodes_have_no_larger_weight() -> None:
    # short episodes at 0 and long ones at 1, in turns: half of the episodes end at 1, with nine tenths of the steps
    ends = np.cumsum(np.tile([1, 9], 1_000))
    assert area_under_curve(ends, np.tile([0.0, 1.0], 1_000), 10_000) == pytest.approx(0.5, abs=0.01)


def test_learning_curve_by_hand() -> None:
    grid = np.array([5, 10, 20, 29, 30, 60, 100, 200])
    # (-15, 5] (-10, 10] (0, 20] (9, 29] (10, 30] (40, 60] (80, 100] and none in (180, 200]
    expected = [np.nan, 1, 1, 1, 2, 3, 7, 11]
    np.testing.assert_array_equal(learning_curve(ENDS, RETURNS, grid, 20), expected)


def test_learning_curve_averages_episodes_that_end_at_the_same_step() -> None:
    curve = learning_curve(np.array([8, 8, 16, 16]), np.array([1.0, 3.0, 5.0, 9.0]), np.array([8, 16]), 8)
    np.testing.assert_array_equal(curve, [2, 7])


@pytest.mark.parametrize(
    ("threshold", "n_episodes"),
    [
        (-1.0, 20),  # 10 * 10 / 20 = 5 with the twentieth, the first that is asked
        (5.0, 20),
        (6.0, 25),  # 15 * 10 / 25
        (9.0, 100),  # 90 * 10 / 100
        (9.1, 101),  # 91 * 10 / 100: the first one is forgotten
        (10.0, 110),
        (10.1, np.inf),
    ],
)
def test_steps_to_threshold_by_hand(threshold: float, n_episodes: float) -> None:
    # ten episodes at 0, then 190 at 10
    returns = np.repeat([0.0, 10.0], [10, 190])
    assert steps_to_threshold(np.arange(1, 201) * 7, returns, threshold) == 7 * n_episodes


def test_steps_to_threshold_waits_for_enough_episodes() -> None:
    ends, returns = np.arange(1, 31) * 500, np.full(30, 500.0)
    assert steps_to_threshold(ends, returns, 475) == 20 * 500
    assert steps_to_threshold(ends[:19], returns[:19], 475) == np.inf


def test_steps_to_threshold_ignores_older_episodes() -> None:
    # the mean of the last 100 reaches 9 with the 95th ten: (95 * 10 - 5 * 10) / 100
    returns = np.repeat([-10.0, 10.0], [100, 100])
    assert steps_to_threshold(np.arange(1, 201), returns, 9.0) == 195


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(-1e3, 1e3)), min_size=1, max_size=60),
    st.integers(1, 500),
    st.lists(st.integers(0, 3000), min_size=1, max_size=10),
)
def test_learning_curve_matches_its_definition(episodes: list[tuple[int, float]], window: int, grid: list[int]) -> None:
    lengths, returns = (np.array(column) for column in zip(*episodes, strict=True))
    ends = np.cumsum(lengths)
    for step, value in zip(grid, learning_curve(ends, returns, np.array(grid), window), strict=True):
        within = [g for end, g in zip(ends, returns, strict=True) if step - window < end <= step]
        before = [g for end, g in zip(ends, returns, strict=True) if end <= step]
        expected = np.mean(within) if within else before[-1] if before else np.nan
        assert value == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.integers(1, 50), min_size=20, max_size=200), st.integers(-500, 500))
def test_constant_returns_give_constant_metrics(lengths: list[int], constant: int) -> None:
    ends, returns = np.cumsum(lengths), np.full(len(lengths), float(constant))
    assert final_score(ends, returns, ends[-1]) == constant
    assert area_under_curve(ends, returns, ends[-1]) == pytest.approx(constant)
    np.testing.assert_array_equal(learning_curve(ends, returns, ends, 100), returns)
    assert steps_to_threshold(ends, returns, constant) == ends[19]
    assert steps_to_threshold(ends, returns, constant + 1) == np.inf


def test_run_without_a_finished_episode_has_no_score() -> None:
    none = np.array([])
    assert np.isnan(final_score(none, none, 100))
    assert np.isnan(area_under_curve(none, none, 100))
    assert np.isnan(learning_curve(none, none, np.array([10, 20]), 5)).all()
    assert steps_to_threshold(none, none, 0) == np.inf


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"returns: .* got the shape \(5,\)"):
        final_score(ENDS, RETURNS[:5], 100)
    with pytest.raises(ValueError, match=r"ends: expected a vector.* got the shape \(6, 1\)"):
        steps_to_threshold(ENDS[:, np.newaxis], RETURNS, 1)
    with pytest.raises(ValueError, match="ends: expected non-decreasing steps"):
        learning_curve(ENDS[::-1], RETURNS, ENDS, 10)
    with pytest.raises(ValueError, match="grid: .* got the shape"):
        learning_curve(ENDS, RETURNS, np.array(5), 10)
    with pytest.raises(ValueError, match="window: .* got 0"):
        learning_curve(ENDS, RETURNS, ENDS, 0)
