import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_a2c_td.tabular.mdp import TabularMDP, expected_rewards
from tests.environments import ConstantEnv


def arrays() -> dict[str, np.ndarray]:
    """State 0 stays or ends in state 1, action 1 always ends."""
    return {
        "transitions": np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]),
        "rewards": np.array([[1.0, 2.0], [0.0, 0.0]]),
        "initial": np.array([1.0, 0.0]),
        "terminal": np.array([False, True]),
    }


def test_arrays_are_read_only_copies() -> None:
    given_arrays = arrays()
    mdp = TabularMDP(**given_arrays, gamma=1)
    given_arrays["rewards"][0, 0] = 7.0
    assert mdp.rewards[0, 0] == 1.0
    for name in given_arrays:
        with pytest.raises(ValueError, match="read-only"):
            getattr(mdp, name)[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        mdp.gamma = 0.5
    assert (mdp.n_states, mdp.n_actions) == (2, 2)
    assert isinstance(mdp.gamma, float)


def test_lists_are_accepted() -> None:
    mdp = TabularMDP(**{name: array.tolist() for name, array in arrays().items()}, gamma=0.9)
    assert mdp.transitions.dtype == mdp.rewards.dtype == np.float64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transitions": np.ones((2, 2))}, r"transitions must have the shape \(S, A, S\), got \(2, 2\)"),
        ({"transitions": np.ones((2, 2, 3))}, r"transitions must have the shape \(2, 2, 2\)"),
        ({"transitions": np.ones((0, 2, 0))}, "transitions must have the shape"),
        ({"rewards": np.zeros(2)}, r"rewards must have the shape \(2, 2\) .* got \(2,\)"),
        ({"rewards": [["much", "little"], [0, 0]]}, "rewards must be an array of floats"),
        ({"rewards": np.array([[np.nan, 0.0], [0.0, 0.0]])}, r"rewards must be finite, got nan at \(0, 0\)"),
        ({"rewards": np.array([[0.0, 0.0], [0.0, 3.0]])}, "rewards: the terminal state 1 must have the reward 0"),
        ({"initial": np.array([1.0])}, r"initial must have the shape \(2,\)"),
        ({"initial": np.array([0.7, 0.0])}, "initial must sum to one over the last axis, got 0.7"),
        ({"initial": np.array([1.5, -0.5])}, r"initial must not be negative, got -0.5 at \(1,\)"),
        ({"initial": np.array([0.5, 0.5])}, "initial: no episode may start in the terminal state 1"),
        ({"terminal": np.array([0, 1])}, "terminal must be an array of bool, got the dtype int64"),
        ({"terminal": np.array([False])}, r"terminal must have the shape \(2,\)"),
        ({"gamma": 1.1}, "gamma must be a finite number at least 0 and at most 1, got 1.1"),
        ({"gamma": np.nan}, "gamma must be"),
        ({"transition_rewards": np.zeros((2, 2))}, r"transition_rewards must have the shape \(2, 2, 2\)"),
        ({"transition_rewards": np.zeros((2, 2, 2))}, "rewards: state 0, action 1 has 2.0, .* is 0.0"),
    ],
)
def test_invalid_mdps_are_rejected(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularMDP(**{**arrays(), "gamma": 0.9, **changes})


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ((0, 0, 0), 0.6, r"transitions must sum to one over the last axis, got 1.1 at \(0, 0\)"),
        ((0, 1), [-0.5, 1.5], r"transitions must not be negative, got -0.5 at \(0, 1, 0\)"),
        ((0, 1, 0), np.inf, r"transitions must be finite, got inf at \(0, 1, 0\)"),
        ((1, 1), [1.0, 0.0], "transitions: the terminal state 1 must be absorbing"),
    ],
)
def test_invalid_transitions_are_rejected(entry: tuple, value: float | list, message: str) -> None:
    changed = arrays()
    changed["transitions"][entry] = value
    with pytest.raises(ValueError, match=message):
        TabularMDP(**changed, gamma=0.9)


def test_expected_rewards_table() -> None:
    transitions = np.array([[[0.25, 0.75]], [[0.0, 1.0]]])
    transition_rewards = np.array([[[4.0, 8.0]], [[100.0, -1.0]]])
    assert expected_rewards(transitions, transition_rewards).tolist() == [[7.0], [-1.0]]


TOY_TEXT = [
    ("FrozenLake-v1", {}, 16, [5, 7, 11, 12, 15]),
    ("FrozenLake-v1", {"is_slippery": False, "map_name": "8x8"}, 64, [19, 29, 35, 41, 42, 46, 49, 52, 54, 59, 63]),
    ("CliffWalking-v1", {}, 48, [47]),
    ("CliffWalking-v1", {"is_slippery": True}, 48, [47]),
    # a goal state is entered on delivery, which ends the episode, and also by driving across it later
    ("Taxi-v4", {}, 501, [500]),
    ("Taxi-v4", {"is_rainy": True}, 501, [500]),
]


@pytest.mark.parametrize(("name", "kwargs", "n_states", "terminal"), TOY_TEXT)
def test_toy_text_matches_its_tables(name: str, kwargs: dict, n_states: int, terminal: list[int]) -> None:
    """Probabilities and mean rewards of all next states, and probabilities of ending, are those of the tables."""
    env = gym.make(name, **kwargs)
    mdp = TabularMDP.from_toy_text(env, gamma=0.9)
    assert mdp.n_states == n_states
    assert np.flatnonzero(mdp.terminal).tolist() == terminal
    tables = env.unwrapped
    assert mdp.initial[: len(tables.P)].tolist() == pytest.approx(tables.initial_state_distrib.tolist())
    assert mdp.transition_rewards is not None
    for s in set(tables.P) - set(terminal):
        for a, outcomes in tables.P[s].items():
            assert mdp.rewards[s, a] == pytest.approx(sum(p * reward for p, _, reward, _ in outcomes))
            ending = sum(p for p, _, _, ended in outcomes if ended)
            assert mdp.transitions[s, a, mdp.terminal].sum() == pytest.approx(ending)
            for _, next_state, _, ended in outcomes:
                same = [(p, reward) for p, other, reward, end in outcomes if (other, end) == (next_state, ended)]
                chance, mean = sum(p for p, _ in same), np.average([r for _, r in same], weights=[p for p, _ in same])
                place = terminal[0] if len(terminal) == 1 and ended else next_state
                assert mdp.transitions[s, a, place] == pytest.approx(chance)
                # if slippery, the start next to the cliff is reached by a fall (-100) and by a step (-1)
                assert mdp.transition_rewards[s, a, place] == pytest.approx(mean)


def test_environment_without_tables_is_rejected() -> None:
    with pytest.raises(ValueError, match="has no tables P and initial_state_distrib: use FrozenLake"):
        TabularMDP.from_toy_text(ConstantEnv(), gamma=0.9)


def test_taxi_with_fickle_passenger_is_rejected() -> None:
    """After a pickup its passenger may change the destination; no outcome in the table does."""
    env = gym.make("Taxi-v4", fickle_passenger=True, fickle_probability=1.0)
    env.reset(seed=0)
    taxi = env.unwrapped
    taxi.s, changed = taxi.encode(0, 0, 0, 1), False
    # pick up, then move away
    for action in (4, 0):
        before = taxi.s
        after = env.step(action)[0]
        changed |= after not in [outcome[1] for outcome in taxi.P[before][action]]
    assert changed
    with pytest.raises(ValueError, match="has fickle_passenger=True: .* use fickle_passenger=False"):
        TabularMDP.from_toy_text(env, gamma=0.9)


class OneTable(gym.Env):
    """State 0 leads to state 1 with and without ending the episode; state 1 leads back to state 0."""

    P = {  # noqa: RUF012
        0: {0: [(0.25, 1, 4.0, True), (0.5, 1, 8.0, False), (0.25, 1, 2.0, False)]},
        1: {0: [(1.0, 0, 0.0, False)]},
    }
    initial_state_distrib = np.array([1.0, 0.0])


def test_state_entered_with_and_without_an_end_is_split() -> None:
    mdp = TabularMDP.from_toy_text(OneTable(), gamma=0.9)
    assert mdp.terminal.tolist() == [False, False, True]
    assert mdp.transitions[:, 0].tolist() == [[0.0, 0.75, 0.25], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert mdp.rewards[:, 0].tolist() == [5.5, 0.0, 0.0]
    assert mdp.transition_rewards is not None
    # the mean of 8 and 2 with weights 2 : 1
    assert mdp.transition_rewards[0, 0].tolist() == [0.0, 6.0, 4.0]


def test_end_that_leads_to_the_start_is_split() -> None:
    env = OneTable()
    env.P = {0: {0: [(0.5, 0, 1.0, True), (0.5, 1, 0.0, False)]}, 1: {0: [(1.0, 0, 3.0, True)]}}
    mdp = TabularMDP.from_toy_text(env, gamma=0.9)
    assert mdp.terminal.tolist() == [False, False, True]
    assert mdp.transitions[:, 0].tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert mdp.rewards[:, 0].tolist() == [0.5, 3.0, 0.0]


@given(seed=st.integers(0, 1000))
def test_rewards_must_be_the_mean_of_transition_rewards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(3), (3, 2))
    transition_rewards = rng.normal(size=(3, 2, 3))
    rewards = expected_rewards(transitions, transition_rewards)
    mdp = TabularMDP(transitions, rewards, np.ones(3) / 3, np.zeros(3, bool), 0.9, transition_rewards)
    assert np.array_equal(mdp.rewards, rewards)
    with pytest.raises(ValueError, match="the mean of transition_rewards is"):
        TabularMDP(transitions, rewards + 0.01, np.ones(3) / 3, np.zeros(3, bool), 0.9, transition_rewards)


def test_rewards_of_impossible_transitions_do_not_matter() -> None:
    transitions, terminal = np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), np.array([False, True])
    of_transitions = np.array([[[0.9, 1e9]], [[0.0, 0.0]]])
    with pytest.raises(ValueError, match="state 0, action 0 has 5.0, but the mean of transition_rewards is 0.9"):
        TabularMDP(transitions, np.array([[5.0], [0.0]]), np.eye(2)[0], terminal, 0.9, of_transitions)


def test_each_reward_must_be_the_mean_even_next_to_large_ones() -> None:
    transitions = np.ones((1, 2, 1))
    means = np.array([[1e9 + 1.0, 0.9]])
    arguments = (np.ones(1), np.zeros(1, bool), 0.9, means[..., np.newaxis])
    # within rounding of 1e9
    TabularMDP(transitions, np.array([[1e9, 0.9]]), *arguments)
    with pytest.raises(ValueError, match="state 0, action 1 has 0.0, but the mean of transition_rewards is 0.9"):
        TabularMDP(transitions, np.array([[1e9, 0.0]]), *arguments)


@pytest.mark.parametrize("transitions", [None, [[[1.0], [1.0, 2.0]]], np.ones((1, 1, 1), complex), "abc"])
def test_what_is_no_array_of_floats_is_named(transitions: Any) -> None:
    with pytest.raises(ValueError, match="^transitions must be an array"):
        TabularMDP(transitions, np.zeros((1, 1)), np.ones(1), np.zeros(1, bool), gamma=0.9)
