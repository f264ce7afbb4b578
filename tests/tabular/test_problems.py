import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sb3_a2c_td.tabular import exact
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk


def test_random_walk_table() -> None:
    mdp = random_walk(2, left_reward=-3.0, right_reward=5.0, gamma=0.5)
    half = [[1, 0, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 0, 1]]
    for a in range(2):
        assert mdp.transitions[:, a].tolist() == half
        assert mdp.rewards[:, a].tolist() == [0, -1.5, 2.5, 0]
    assert mdp.initial.tolist() == [0, 1, 0, 0]
    assert mdp.terminal.tolist() == [True, False, False, True]
    assert mdp.transition_rewards is not None
    assert mdp.transition_rewards[1, 0].tolist() == [-3, 0, 0, 0]
    assert mdp.transition_rewards[2, 1].tolist() == [0, 0, 0, 5]


@given(n=st.integers(1, 12), left=st.floats(-10, 10), right=st.floats(-10, 10), seed=st.integers(0, 100))
def test_values_of_the_random_walk_are_linear_for_all_policies(n: int, left: float, right: float, seed: int) -> None:
    mdp = random_walk(n, left, right)
    policy = np.random.default_rng(seed).dirichlet(np.ones(2), n + 2)
    expected = left + (right - left) * np.arange(1, n + 1) / (n + 1)
    np.testing.assert_allclose(exact.state_values(mdp, policy)[1:-1], expected, atol=1e-9)
    np.testing.assert_allclose(exact.policy_gradient(mdp, policy), 0.0, atol=1e-9)


def test_chain_table() -> None:
    mdp = chain(3)
    assert mdp.transitions[:, 0].argmax(axis=1).tolist() == [0, 0, 1]
    assert mdp.transitions[:, 1].argmax(axis=1).tolist() == [1, 2, 2]
    assert mdp.rewards.tolist() == [[0.001, 0], [0, 0], [0, 1]]
    assert mdp.initial.tolist() == [0, 1, 0]
    assert not mdp.terminal.any()


@given(n_states=st.integers(1, 10), n_actions=st.integers(1, 4), part=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_garnet_has_the_requested_branching(n_states: int, n_actions: int, part: float, seed: int) -> None:
    branching = 1 + round(part * (n_states - 1))
    mdp = garnet(n_states, n_actions, branching, seed)
    assert mdp.transitions.shape == (n_states, n_actions, n_states)
    assert ((mdp.transitions > 0).sum(axis=2) == branching).all()
    assert not mdp.terminal.any()


def test_garnet_is_determined_by_its_seed() -> None:
    one, same, other = (garnet(seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.transitions, same.transitions)
    assert np.array_equal(one.rewards, same.rewards)
    assert not np.array_equal(one.transitions, other.transitions)


def test_garnets_have_the_published_distribution() -> None:
    """Rewards N(0, 1); each of b parts of the unit interval Beta(1, b - 1); next states uniform."""
    mdp = garnet(n_states=60, n_actions=20, branching=4, seed=0)
    assert stats.kstest(mdp.rewards.ravel(), "norm").pvalue > 1e-3
    # one part per row, since the four parts of a row are dependent
    rows, next_states = np.nonzero(mdp.transitions.reshape(-1, 60))
    first = mdp.transitions.reshape(-1, 60)[rows[::4], next_states[::4]]
    assert stats.kstest(first, stats.beta(1, 3).cdf).pvalue > 1e-3
    assert stats.chisquare(np.bincount(next_states, minlength=60)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: random_walk(0), "n_states must be an integer of at least 1, got 0"),
        (lambda: random_walk(right_reward=np.inf), "right_reward must be a finite number, got inf"),
        (lambda: random_walk(gamma=2), "gamma must be a finite number"),
        (lambda: garnet(n_actions=0), "n_actions must be an integer of at least 1, got 0"),
        (lambda: garnet(n_states=3, branching=4), "branching must be at most n_states=3, got 4"),
        (lambda: garnet(gamma=1.0), r"gamma must be below 1, got 1\.0: episodes never end"),
        (lambda: chain(1), "n_states must be at least 2, got 1"),
        (lambda: chain(2.5), "n_states must be an integer"),
        (lambda: chain(gamma=1), "gamma must be below 1, got 1: episodes never end"),
        (lambda: chain(gamma=-0.1), "gamma must be a finite number at least 0 and at most 1, got -0.1"),
    ],
)
def test_arguments_out_of_range_are_rejected(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
