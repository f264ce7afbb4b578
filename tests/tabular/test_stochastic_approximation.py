"""Robbins–Monro iterations compared with closed forms, exact moments and exact solutions."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_a2c_td.schedules import PowerLaw
from sb3_a2c_td.tabular.exact import action_values, optimal_policy, state_values, transition_matrix
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import random_walk
from sb3_a2c_td.tabular.stochastic_approximation import (
    TransitionSample,
    independent_transitions,
    q_learning,
    q_learning_f,
    robbins_monro,
    td0,
    td0_f,
    trajectories,
)

SEEDS = st.integers(0, 2**32 - 1)


def corridor(gamma: float = 1.0) -> TabularMDP:
    """Five states in a row between two terminal ones. Actions go left and right; the right end has reward 1."""
    transitions = np.zeros((7, 2, 7))
    rewards = np.zeros((7, 2))
    for s in range(1, 6):
        transitions[s, [0, 1], [s - 1, s + 1]] = 1.0
    transitions[[0, 6], :, [0, 6]] = 1.0
    rewards[5, 1] = 1.0
    terminal = np.isin(np.arange(7), [0, 6])
    return TabularMDP(transitions, rewards, np.eye(7)[3], terminal, gamma)


def random_mdp(seed: int, n_states: int = 4, n_actions: int = 3, gamma: float = 0.8) -> TabularMDP:
    """Every state can follow every state; the last one is terminal."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(n_states), size=(n_states, n_actions))
    transitions[-1] = np.eye(n_states)[-1]
    paid = rng.normal(size=transitions.shape)
    paid[-1] = 0.0
    initial = np.append(rng.dirichlet(np.ones(n_states - 1)), 0.0)
    terminal = np.arange(n_states) == n_states - 1
    return TabularMDP(transitions, np.sum(transitions * paid, axis=2), initial, terminal, gamma, paid)


def random_policy(mdp: TabularMDP, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(mdp.n_actions), size=mdp.n_states)


def uniform(mdp: TabularMDP) -> np.ndarray:
    return np.full(mdp.rewards.shape, 1 / mdp.n_actions)


def live_states(mdp: TabularMDP) -> np.ndarray:
    return ~mdp.terminal / np.sum(~mdp.terminal)


def every_transition(mdp: TabularMDP) -> tuple[TransitionSample, np.ndarray]:
    """List all transitions from states that are not terminal, and their probabilities given s and a."""
    s, a, next_state = np.nonzero((mdp.transitions > 0) & ~mdp.terminal[:, None, None])
    discount = np.where(mdp.terminal[next_state], 0.0, mdp.gamma)
    paid = mdp.rewards[s, a] if mdp.transition_rewards is None else mdp.transition_rewards[s, a, next_state]
    return TransitionSample(s, a, paid, discount, next_state), mdp.transitions[s, a, next_state]


def iterates_at(marks: list[int], iterates: Iterator[np.ndarray]) -> list[np.ndarray]:
    """Return the iterates at these (increasing) times."""
    return [theta for t, theta in enumerate(islice(iterates, marks[-1]), start=1) if t in marks]


# The iteration itself


@given(SEEDS, st.integers(1, 30))
def test_step_size_1_over_t_gives_the_running_mean(seed: int, n: int) -> None:
    samples = np.random.default_rng(seed).normal(size=(n, 3))
    draws = iter(samples)
    iterates = robbins_monro(lambda s, theta: theta - s, lambda _: next(draws), PowerLaw(1, 1, 1), np.full(3, 1e3))
    for t, theta in enumerate(islice(iterates, n), start=1):
        np.testing.assert_allclose(theta, samples[:t].mean(axis=0), atol=1e-12)


def test_samples_depend_on_the_current_iterate() -> None:
    """Here s = θ − 1 deterministically, and f = s is zero at θ = 1."""
    seen = []

    def sample(theta: np.ndarray) -> np.ndarray:
        seen.append(theta)
        return theta - 1.0

    iterates = list(islice(robbins_monro(lambda s, _: s, sample, PowerLaw(0.5, 1, 0), np.zeros(2)), 3))
    np.testing.assert_array_equal(seen, [[0, 0], [0.5, 0.5], [0.75, 0.75]])
    np.testing.assert_array_equal(iterates[-1], [0.875, 0.875])


def test_each_component_has_its_own_time() -> None:
    """Components that are updated in turns take the step sizes 1, 1/2, 1/3, ...: each is the mean of its samples."""
    samples = np.arange(1.0, 13.0)
    order = [0, 1, 1, 0, 2, 2, 2, 1, 0, 0, 0, 1]
    draws = iter(zip(order, samples, strict=True))

    def f(sample: tuple[int, float], theta: np.ndarray) -> np.ndarray:
        return np.where(np.arange(3) == sample[0], theta - sample[1], 0.0)

    iterates = robbins_monro(
        f, lambda _: next(draws), PowerLaw(1, 1, 1), np.zeros(3), lambda sample, _: np.arange(3) == sample[0]
    )
    *_, theta = islice(iterates, 12)
    np.testing.assert_allclose(theta, [np.mean(samples[np.array(order) == i]) for i in range(3)])


# Rates


def test_constant_step_size_keeps_an_error_and_decaying_one_does_not() -> None:
    """For the estimate of a mean, the error's variance tends to σ² α / (2 − α), or is σ² / t with α = 1 / t."""
    n_replicas, n, sigma = 20_000, 400, 2.0

    def mean_squared_error(steps: PowerLaw) -> float:
        rng = np.random.default_rng(1)
        iterates = robbins_monro(
            lambda s, theta: theta - s, lambda theta: rng.normal(3.0, sigma, theta.shape), steps, np.zeros(n_replicas)
        )
        return float(np.mean((iterates_at([n], iterates)[0] - 3.0) ** 2))

    # a mean of squared normals: its relative standard error is sqrt(2 / n_replicas) = 1 %
    for alpha in (0.05, 0.2):
        assert mean_squared_error(PowerLaw(alpha, 1, 0)) == pytest.approx(sigma**2 * alpha / (2 - alpha), rel=0.04)
    assert mean_squared_error(PowerLaw(1, 1, 1)) == pytest.approx(sigma**2 / n, rel=0.04)


def exact_mean_squared_errors(mdp: TabularMDP, policy: np.ndarray, steps: PowerLaw, marks: list[int]) -> np.ndarray:
    """Compute E[(V_t − V)²], (n_marks, S), by recursion, for independent samples and one shared time.

    With the error δ and the sampled transition x, δ' = (I − α A_x) δ − α n_x; the vector (δ, 1) is mapped by a
    matrix, whose mean Kronecker square maps its second moments.
    """
    transition, given = every_transition(mdp)
    weights = live_states(mdp)[transition.state] * policy[transition.state, transition.action] * given
    n_states, values = mdp.n_states, state_values(mdp, policy)
    unit = np.eye(n_states)
    a = np.einsum(
        "xi,xj->xij",
        unit[transition.state],
        unit[transition.state] - transition.discount[:, None] * unit[transition.next_state],
    )
    noise = np.einsum("xij,j->xi", a, values) - transition.reward[:, None] * unit[transition.state]
    map_of_x = np.zeros((len(weights), n_states + 1, n_states + 1))
    map_of_x[:, :-1, :-1], map_of_x[:, :-1, -1] = a, noise

    start = np.append(-values, 1.0)
    moments = np.outer(start, start)
    mean_map = np.einsum("x,xij->ij", weights, map_of_x)
    square = np.einsum("x,xij,xkl->ikjl", weights, map_of_x, map_of_x).reshape(2 * [(n_states + 1) ** 2])
    squared_errors = []
    for t in range(marks[-1]):
        alpha = float(steps(t))
        cross = mean_map @ moments
        moments = moments - alpha * (cross + cross.T) + alpha**2 * (square @ moments.ravel()).reshape(moments.shape)
        if t + 1 in marks:
            squared_errors.append(np.diag(moments)[:-1])
    return np.array(squared_errors)


def td0_squared_errors(mdp: TabularMDP, steps: PowerLaw, marks: list[int], n_replicas: int) -> np.ndarray:
    """Run TD(0) under the assumptions of the recursion and return (V_t − V)², (n_marks, n_replicas, S)."""
    policy = uniform(mdp)
    sample = independent_transitions(mdp, policy, live_states(mdp), n_replicas, np.random.default_rng(2))
    iterates = iterates_at(marks, td0(sample, steps, np.zeros((n_replicas, mdp.n_states)), count_visits=False))
    return (np.array(iterates) - state_values(mdp, policy)) ** 2


@pytest.mark.parametrize(
    ("steps", "slope"),
    [(PowerLaw(60, 120, 1), -1.0), (PowerLaw(8, 16, 0.75), -0.75), (PowerLaw(0.2, 1, 0), 0.0)],
    ids=["1/t", "t^-0.75", "constant"],
)
def test_td0_converges_at_the_theoretical_rate(steps: PowerLaw, slope: float) -> None:
    """The mean squared error falls like α_t: like 1/t if a is large enough, like t^-p for p < 1, or not at all."""
    mdp = corridor(gamma=0.9)
    n_replicas, marks = 1_000, [250, 1_000, 4_000]
    squared_errors = td0_squared_errors(mdp, steps, marks, n_replicas)
    exact = exact_mean_squared_errors(mdp, uniform(mdp), steps, marks)
    standard_error = squared_errors.std(axis=1, ddof=1) / np.sqrt(n_replicas)
    assert np.all(np.abs(squared_errors.mean(axis=1) - exact) <= 5 * standard_error)

    # the sum over the states, and its relative error over the replicas
    totals = squared_errors.sum(axis=2)
    measured = np.log(totals[-1].mean() / totals[-2].mean()) / np.log(marks[-1] / marks[-2])
    relative = totals.std(axis=1) / totals.mean(axis=1) / np.sqrt(n_replicas)
    band = 5 * np.hypot(*relative[-2:]) / np.log(marks[-1] / marks[-2])
    assert band < 0.2
    # the slope at finite times differs from its limit by the recursion's
    limit = np.log(exact[-1].sum() / exact[-2].sum()) / np.log(marks[-1] / marks[-2])
    assert limit == pytest.approx(slope, abs=0.06)
    assert measured == pytest.approx(slope, abs=band + 0.06)


def test_step_size_a_over_t_with_small_a_is_slower() -> None:
    """The mean squared error falls like t^(-2 λ a) with λ the smallest eigenvalue of the mean map, if 2 λ a < 1."""
    mdp = corridor(gamma=0.9)
    p = transition_matrix(mdp, uniform(mdp))[1:6, 1:6]
    smallest = np.linalg.eigvals(np.eye(5) - 0.9 * p).real.min() / 5
    steps, marks, n_replicas = PowerLaw(0.25 / smallest, 10, 1), [500, 2_000], 500
    exact = exact_mean_squared_errors(mdp, uniform(mdp), steps, marks)
    assert np.log(exact[1].sum() / exact[0].sum()) / np.log(4) == pytest.approx(-0.5, abs=0.06)

    squared_errors = td0_squared_errors(mdp, steps, marks, n_replicas)
    standard_error = squared_errors.std(axis=1, ddof=1) / np.sqrt(n_replicas)
    assert np.all(np.abs(squared_errors.mean(axis=1) - exact) <= 5 * standard_error)


# TD(0) and Q-learning


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9]))
def test_mean_of_f_is_zero_at_the_exact_values(seed: int, gamma: float) -> None:
    mdp = random_mdp(seed, gamma=gamma)
    policy = random_policy(mdp, seed)
    transition, given_pair = every_transition(mdp)
    weights = policy[transition.state, transition.action] * given_pair
    n = len(weights)

    values = state_values(mdp, policy)
    mean = np.tensordot(weights, td0_f(transition, np.tile(values, (n, 1))), axes=1)
    np.testing.assert_allclose(mean, 0.0, atol=1e-10)
    optimal_q = action_values(mdp, optimal_policy(mdp))
    mean_q = np.tensordot(given_pair, q_learning_f(transition, np.tile(optimal_q, (n, 1, 1))), axes=1)
    np.testing.assert_allclose(mean_q, 0.0, atol=1e-10)

    # and nowhere else, since a contraction has a single fixed point
    elsewhere = np.tensordot(weights, td0_f(transition, np.tile(values + ~mdp.terminal, (n, 1))), axes=1)
    assert np.all(elsewhere[~mdp.terminal] > 0)


def test_one_step_by_hand() -> None:
    transition = TransitionSample(
        np.array([1, 2]), np.array([0, 1]), np.array([2.0, 3.0]), np.array([0.5, 0.0]), np.array([2, 0])
    )
    values = np.array([[0.0, 10.0, 4.0], [7.0, 0.0, 5.0]])
    np.testing.assert_array_equal(td0_f(transition, values), [[0, 10 - (2 + 0.5 * 4), 0], [0, 0, 5 - 3]])
    q = np.array([[[0.0, 0.0], [1.0, 0.0], [4.0, 8.0]], [[9.0, 9.0], [0.0, 0.0], [0.0, 5.0]]])
    np.testing.assert_array_equal(
        q_learning_f(transition, q), [[[0, 0], [1 - (2 + 0.5 * 8), 0], [0, 0]], [[0, 0], [0, 0], [0, 5 - 3]]]
    )


@pytest.mark.parametrize("mdp", [corridor(), random_mdp(3)], ids=["corridor", "random"])
def test_td0_finds_the_values_along_trajectories(mdp: TabularMDP) -> None:
    policy = random_policy(mdp, 5)
    n_replicas = 200
    sample = trajectories(mdp, policy, n_replicas, np.random.default_rng(6))
    early, late = iterates_at([200, 10_000], td0(sample, PowerLaw(10, 10, 1), np.zeros((n_replicas, mdp.n_states))))
    values = state_values(mdp, policy)
    errors = [np.sqrt(np.mean((v - values) ** 2)) for v in (early, late)]
    assert errors[1] < 0.3 * errors[0]
    standard_error = late.std(axis=0) / np.sqrt(n_replicas)
    assert np.all(np.abs(late.mean(axis=0) - values) <= 5 * standard_error + 0.01)


@pytest.mark.parametrize("mdp", [corridor(0.9), random_mdp(7)], ids=["corridor", "random"])
@pytest.mark.parametrize("follows_episodes", [False, True])
def test_q_learning_finds_the_optimal_values(mdp: TabularMDP, follows_episodes: bool) -> None:
    n_replicas, rng = 100, np.random.default_rng(8)
    if follows_episodes:
        sample = trajectories(mdp, uniform(mdp), n_replicas, rng)
    else:
        sample = independent_transitions(mdp, uniform(mdp), live_states(mdp), n_replicas, rng)
    start = np.zeros((n_replicas, mdp.n_states, mdp.n_actions))
    early, late = iterates_at([500, 10_000], q_learning(sample, PowerLaw(10, 10, 1), start))
    optimal_q = action_values(mdp, optimal_policy(mdp))
    errors = [np.sqrt(np.mean((q - optimal_q) ** 2)) for q in (early, late)]
    assert errors[1] < 0.1
    assert errors[1] < 0.4 * errors[0]
    np.testing.assert_array_equal(late[:, mdp.terminal], 0.0)


@given(SEEDS)
def test_each_state_action_pair_has_its_own_time(seed: int) -> None:
    """With γ = 0 and step sizes 1/t, Q(s, a) is the mean reward of that pair."""
    mdp = random_mdp(seed, n_states=2, n_actions=2, gamma=0.0)
    n_replicas = 3
    draw = trajectories(mdp, uniform(mdp), n_replicas, np.random.default_rng(seed))
    drawn = []

    def sample(theta: np.ndarray) -> TransitionSample:
        drawn.append(draw(theta))
        return drawn[-1]

    for q in islice(q_learning(sample, PowerLaw(1, 1, 1), np.zeros((n_replicas, 2, 2))), 10):
        actions = np.array([transition.action for transition in drawn])
        rewards = np.array([transition.reward for transition in drawn])
        for replica in range(n_replicas):
            for action in (0, 1):
                paid = rewards[:, replica][actions[:, replica] == action]
                assert q[replica, 0, action] == pytest.approx(np.mean(paid) if len(paid) else 0.0, abs=1e-12)


# Samplers


def test_independent_transitions_follow_the_mdp() -> None:
    mdp = random_mdp(9)
    policy, states, n = random_policy(mdp, 10), np.array([0.2, 0.5, 0.3, 0.0]), 100_000
    drawn = independent_transitions(mdp, policy, states, n, np.random.default_rng(11))(np.zeros(0))
    counts = np.zeros(mdp.transitions.shape)
    np.add.at(counts, (drawn.state, drawn.action, drawn.next_state), 1)
    expected = n * states[:, None, None] * policy[:, :, None] * mdp.transitions
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected))
    np.testing.assert_array_equal(drawn.reward, mdp.transition_rewards[drawn.state, drawn.action, drawn.next_state])
    np.testing.assert_array_equal(drawn.discount, np.where(drawn.next_state == 3, 0.0, 0.8))


def test_trajectories_continue_from_the_next_state() -> None:
    """The state is the previous next state, or the initial one after an end; episodes end on both sides."""
    mdp = corridor()
    sample = trajectories(mdp, uniform(mdp), 50, np.random.default_rng(12))
    last = sample(np.zeros(0))
    np.testing.assert_array_equal(last.state, 3)
    ends = np.zeros(7)
    for _ in range(400):
        now = sample(np.zeros(0))
        ended = mdp.terminal[last.next_state]
        np.testing.assert_array_equal(now.state, np.where(ended, 3, last.next_state))
        np.testing.assert_array_equal(now.next_state, now.state + 2 * now.action - 1)
        np.testing.assert_array_equal(now.reward, now.next_state == 6)
        ends += np.bincount(now.next_state, minlength=7) * mdp.terminal
        last = now
    # an episode has 9 steps on average and ends on either side with equal probability
    assert ends[0] + ends[6] == pytest.approx(400 * 50 / 9, rel=0.1)
    assert ends[6] / (ends[0] + ends[6]) == pytest.approx(0.5, abs=0.06)


def test_same_seed_gives_the_same_iterates() -> None:
    def run(seed: int) -> np.ndarray:
        mdp = corridor()
        sample = trajectories(mdp, uniform(mdp), 3, np.random.default_rng(seed))
        return iterates_at([50], td0(sample, PowerLaw(1, 2, 1), np.zeros((3, 7))))[0]

    np.testing.assert_array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))


def test_integers_as_initial_values_are_no_loss() -> None:
    mdp = corridor(gamma=0.9)
    first = []
    for dtype in (float, int):
        sample = trajectories(mdp, np.full((7, 2), 0.5), 1, np.random.default_rng(0))
        first.append(list(islice(td0(sample, PowerLaw(1, 2, 1), np.ones((1, 7), dtype)), 3)))
    np.testing.assert_array_equal(*first)


@pytest.mark.parametrize(
    ("policy", "states", "message"),
    [
        (np.full((3, 2), np.nan), None, "policy: the row of state 0 must be probabilities"),
        (np.full((2, 2), 0.5), None, r"policy must have the shape \(3, 2\), got \(2, 2\)"),
        (None, np.array([0.5, 0.5]), r"states must have the shape \(3,\), got \(2,\)"),
        (None, np.array([0.5, np.nan, 0.5]), r"states must not be negative, got nan at \(1,\)"),
        (None, np.array([0.5, 0.0, 0.5]), "states: a terminal state has no transitions"),
    ],
)
def test_samplers_refuse_what_is_no_distribution(
    policy: np.ndarray | None, states: np.ndarray | None, message: str
) -> None:
    mdp = TabularMDP(
        transitions=np.array([[[0, 1, 0]] * 2, [[0, 0, 1]] * 2, [[0, 0, 1]] * 2], np.float64),
        rewards=np.array([[1, 0], [0, 1], [0, 0]]),
        initial=np.array([0.5, 0.5, 0]),
        terminal=np.array([False, False, True]),
        gamma=0.9,
    )
    policy = np.full((3, 2), 0.5) if policy is None else policy
    states = mdp.initial if states is None else states
    with pytest.raises(ValueError, match=message):
        independent_transitions(mdp, policy, states, 4, np.random.default_rng(0))


@pytest.mark.parametrize("learn", [td0, q_learning])
def test_values_need_a_row_for_each_replica(learn: Any) -> None:
    mdp = random_walk()
    policy = np.full((mdp.n_states, mdp.n_actions), 1 / mdp.n_actions)
    sample = trajectories(mdp, policy, 1, np.random.default_rng(0))
    values = np.zeros((8, mdp.n_states, *((mdp.n_actions,) if learn is q_learning else ())))
    with pytest.raises(ValueError, match="values has 8 rows, and sample draws the transitions of 1 replicas"):
        next(learn(sample, PowerLaw(1.0, 1.0, 1.0), values))


def test_components_are_chosen_before_the_step() -> None:
    seen = []
    updated = lambda _, theta: seen.append(theta.tolist()) or np.ones(1, bool)  # noqa: E731
    iterates = robbins_monro(lambda s, theta: theta - s, lambda _: 1.0, PowerLaw(1.0, 1.0, 1.0), np.zeros(1), updated)
    next(iterates), next(iterates)
    assert seen == [[0.0], [1.0]]
