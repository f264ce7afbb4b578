import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from sb3_a2c_td.tabular import exact
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk
from tests.tabular.processes import processes, processes_with_policies, random_policy

FUNCTIONS = [
    exact.transition_matrix,
    exact.state_values,
    exact.action_values,
    exact.visitation,
    exact.objective,
    exact.policy_gradient,
]


def uniform(mdp: TabularMDP) -> np.ndarray:
    return np.full((mdp.n_states, mdp.n_actions), 1 / mdp.n_actions)


def one_way(gamma: float = 1.0) -> TabularMDP:
    """Action 0 stays with reward 0; action 1 ends the episode in state 1 with reward 1."""
    transitions = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    rewards = np.array([[0.0, 1.0], [0.0, 0.0]])
    return TabularMDP(transitions, rewards, np.array([1.0, 0.0]), np.array([False, True]), gamma)


def test_random_walk_has_the_published_values() -> None:
    """Sutton & Barto, example 6.2."""
    mdp = random_walk(5)
    assert exact.state_values(mdp, uniform(mdp)).tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 0])
    assert exact.objective(mdp, uniform(mdp)) == pytest.approx(0.5)


def test_walk_of_nineteen_states_has_the_published_values() -> None:
    """Sutton & Barto, example 7.1."""
    mdp = random_walk(19, left_reward=-1.0)
    values = exact.state_values(mdp, uniform(mdp))
    np.testing.assert_allclose(values[1:-1], np.arange(-18, 20, 2) / 20, atol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 8])
def test_visits_match_gamblers_ruin(n: int) -> None:
    """The expected visits to j from i in the gambler's ruin are 2 min(i, j) (n + 1 - max(i, j)) / (n + 1)."""
    mdp = random_walk(n)
    i, j = (n + 1) // 2, np.arange(1, n + 1)
    expected = 2 * np.minimum(i, j) * (n + 1 - np.maximum(i, j)) / (n + 1)
    visits = exact.visitation(mdp, uniform(mdp))
    np.testing.assert_allclose(visits, [0, *expected, 0], atol=1e-12)


def test_constant_reward_gives_the_geometric_series() -> None:
    mdp = dataclasses.replace(garnet(7, 2, 3, seed=1, gamma=0.9), rewards=np.ones((7, 2)))
    policy = random_policy(np.random.default_rng(0), 7, 2)
    np.testing.assert_allclose(exact.state_values(mdp, policy), 10.0)
    np.testing.assert_allclose(exact.action_values(mdp, policy), 10.0)
    assert exact.visitation(mdp, policy).sum() == pytest.approx(10.0)


@given(processes_with_policies())
def test_values_satisfy_bellmans_equations(drawn: tuple[TabularMDP, np.ndarray]) -> None:
    mdp, policy = drawn
    v = exact.state_values(mdp, policy)
    q = exact.action_values(mdp, policy)
    for s in range(mdp.n_states):
        assert v[s] == pytest.approx(sum(policy[s, a] * q[s, a] for a in range(mdp.n_actions)), abs=1e-9)
        for a in range(mdp.n_actions):
            expected = mdp.rewards[s, a] + mdp.gamma * sum(mdp.transitions[s, a, t] * v[t] for t in range(mdp.n_states))
            assert q[s, a] == pytest.approx(expected, abs=1e-9)
    assert not v[mdp.terminal].any()
    assert not q[mdp.terminal].any()


@given(processes_with_policies())
def test_transition_matrix_averages_over_actions(drawn: tuple[TabularMDP, np.ndarray]) -> None:
    mdp, policy = drawn
    matrix = exact.transition_matrix(mdp, policy)
    for s in range(mdp.n_states):
        np.testing.assert_allclose(
            matrix[s], sum(p * row for p, row in zip(policy[s], mdp.transitions[s], strict=True))
        )
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


@given(processes_with_policies())
def test_visits_match_the_discounted_series(drawn: tuple[TabularMDP, np.ndarray]) -> None:
    """Sum gamma^k P(s_k = s) over k until the terms vanish, independently of the linear solve."""
    mdp, policy = drawn
    matrix = exact.transition_matrix(mdp, policy)
    chance, weight, visits = mdp.initial.copy(), 1.0, np.zeros(mdp.n_states)
    for _ in range(2000):
        visits += weight * np.where(mdp.terminal, 0.0, chance)
        chance = chance @ matrix
        weight *= mdp.gamma
    np.testing.assert_allclose(exact.visitation(mdp, policy), visits, atol=1e-8)


@given(processes_with_policies())
def test_objective_equals_rewards_times_visits(drawn: tuple[TabularMDP, np.ndarray]) -> None:
    mdp, policy = drawn
    paid = (exact.visitation(mdp, policy)[:, None] * policy * mdp.rewards).sum()
    assert exact.objective(mdp, policy) == pytest.approx(paid, abs=1e-9)


@given(processes(), st.integers(0, 1000))
def test_softmax_gradient_matches_finite_differences(mdp: TabularMDP, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(mdp.n_states, mdp.n_actions))
    gradient = exact.policy_gradient(mdp, special.softmax(logits, axis=1))
    differences = np.zeros_like(logits)
    step = 1e-5
    for index in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[index] = step
        up, down = (exact.objective(mdp, special.softmax(logits + sign * shift, axis=1)) for sign in (1, -1))
        differences[index] = (up - down) / (2 * step)
    np.testing.assert_allclose(gradient, differences, atol=1e-6)


@given(processes(), st.integers(0, 1000))
def test_network_gradient_matches_autograd(mdp: TabularMDP, seed: int) -> None:
    """Differentiate J through PyTorch's linear solve, with parameters that states share."""
    generator = th.Generator().manual_seed(seed)
    features = th.randn((mdp.n_states, 3), generator=generator, dtype=th.float64)
    weights = th.randn((3, mdp.n_actions), generator=generator, dtype=th.float64)

    def policy_of(weights: th.Tensor) -> th.Tensor:
        return (features @ weights).softmax(dim=1)

    def objective_of(weights: th.Tensor) -> th.Tensor:
        policy = policy_of(weights)
        live = th.tensor(~mdp.terminal)
        matrix = th.einsum("sa,sat->st", policy, th.tensor(mdp.transitions))[live][:, live]
        reward = (policy * th.tensor(mdp.rewards)).sum(1)[live]
        values = th.linalg.solve(th.eye(len(reward), dtype=th.float64) - mdp.gamma * matrix, reward)
        return th.tensor(mdp.initial)[live] @ values

    expected = th.func.grad(objective_of)(weights).numpy()
    policy = policy_of(weights).numpy()
    grad_policy = th.func.jacrev(policy_of)(weights).numpy()
    assert exact.objective(mdp, policy) == pytest.approx(objective_of(weights).item())
    np.testing.assert_allclose(exact.policy_gradient(mdp, policy, grad_policy), expected, atol=1e-10)


@given(processes_with_policies(), st.integers(0, 1000))
def test_baseline_does_not_change_the_gradient(drawn: tuple[TabularMDP, np.ndarray], seed: int) -> None:
    """The softmax form subtracts the baseline V(s), the general form subtracts nothing."""
    mdp, policy = drawn
    grad_policy = np.zeros((mdp.n_states, mdp.n_actions, mdp.n_states, mdp.n_actions))
    for s in range(mdp.n_states):
        grad_policy[s, :, s, :] = np.diag(policy[s]) - np.outer(policy[s], policy[s])
    general = exact.policy_gradient(mdp, policy, grad_policy)
    np.testing.assert_allclose(general, exact.policy_gradient(mdp, policy), atol=1e-9)


def test_values_and_visits_match_simulated_episodes() -> None:
    """Monte Carlo: the means of 20,000 episodes lie within 4.5 standard errors."""
    mdp = dataclasses.replace(random_walk(5, left_reward=-1.0), gamma=0.9)
    policy = uniform(mdp)
    rng = np.random.default_rng(0)
    n = 20_000
    state = rng.choice(mdp.n_states, n, p=mdp.initial)
    returns, visits, weight = np.zeros(n), np.zeros((n, mdp.n_states)), 1.0
    assert mdp.transition_rewards is not None
    for _ in range(200):
        live = ~mdp.terminal[state]
        visits[live, state[live]] += weight
        moved = state + np.where(rng.random(n) < 0.5, 1, -1) * live
        returns += weight * mdp.transition_rewards[state, 0, moved] * live
        state, weight = moved, weight * mdp.gamma
    error = returns.std() / np.sqrt(n)
    assert abs(returns.mean() - exact.objective(mdp, policy)) < 4.5 * error
    errors = visits.std(axis=0) / np.sqrt(n)
    assert (np.abs(visits.mean(axis=0) - exact.visitation(mdp, policy)) <= 4.5 * errors).all()


@given(processes())
def test_optimal_policy_matches_value_iteration(mdp: TabularMDP) -> None:
    values = np.zeros(mdp.n_states)
    for _ in range(2000):
        values = (mdp.rewards + mdp.gamma * mdp.transitions @ values).max(axis=1)
    policy = exact.optimal_policy(mdp)
    np.testing.assert_allclose(exact.state_values(mdp, policy), values, atol=1e-8)
    assert np.array_equal(policy, np.eye(mdp.n_actions)[policy.argmax(axis=1)])


@given(processes_with_policies())
def test_no_policy_beats_the_optimal_one(drawn: tuple[TabularMDP, np.ndarray]) -> None:
    mdp, policy = drawn
    best = exact.state_values(mdp, exact.optimal_policy(mdp))
    assert (exact.state_values(mdp, policy) <= best + 1e-9).all()


@pytest.mark.parametrize(
    ("name", "kwargs", "optimum"),
    [
        # the probability of reaching the goal on 4x4 ice without a time limit is 14/17
        ("FrozenLake-v1", {}, 14 / 17),
        ("FrozenLake-v1", {"is_slippery": False}, 1.0),
        # Sutton & Barto, example 6.6: the shortest path along the cliff has 13 steps
        ("CliffWalking-v1", {}, -13.0),
        # the known optimum of Taxi
        ("Taxi-v4", {}, 7.93),
    ],
)
def test_toy_text_optima_match_known_values(name: str, kwargs: dict, optimum: float) -> None:
    mdp = TabularMDP.from_toy_text(gym.make(name, **kwargs), gamma=1.0)
    policy = exact.optimal_policy(mdp)
    assert exact.objective(mdp, policy) == pytest.approx(optimum)


def test_optimal_policy_of_the_chain_goes_right() -> None:
    mdp = chain(10, gamma=0.9)
    policy = exact.optimal_policy(mdp)
    assert policy.argmax(axis=1).tolist() == [1] * 10
    # eight steps to the last state, then a reward of 1 per step
    assert exact.objective(mdp, policy) == pytest.approx(0.9**8 * 10)
    # with strong discounting, the small reward next to the start is worth more
    assert exact.optimal_policy(chain(10, gamma=0.3)).argmax(axis=1).tolist()[:2] == [0, 0]


@given(processes())
def test_optimal_policy_is_invariant_to_reward_scale(mdp: TabularMDP) -> None:
    scaled = dataclasses.replace(mdp, rewards=1e-11 * mdp.rewards)
    assert np.array_equal(exact.optimal_policy(scaled), exact.optimal_policy(mdp))


def test_zero_rewards_take_the_lowest_action() -> None:
    mdp = dataclasses.replace(garnet(), rewards=np.zeros((20, 4)))
    assert exact.optimal_policy(mdp).argmax(axis=1).tolist() == [0] * 20


@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_ties_take_the_lowest_action(gamma: float) -> None:
    mdp = random_walk(3, gamma=gamma)
    assert exact.optimal_policy(mdp).argmax(axis=1).tolist() == [0] * 5


def test_ties_take_the_lowest_action_even_if_another_was_better_before() -> None:
    """While state 1 still has the value 0, the immediate 0.9 seems better in state 0 than going to state 1."""
    transitions = np.zeros((3, 2, 3))
    transitions[0, 0, 1] = transitions[0, 1, 2] = 1.0
    transitions[1:, :, 2] = 1.0
    rewards = np.array([[0.0, 0.9], [0.0, 1.0], [0.0, 0.0]])
    mdp = TabularMDP(transitions, rewards, np.array([1.0, 0.0, 0.0]), np.array([False, False, True]), 0.9)
    assert exact.optimal_policy(mdp).argmax(axis=1).tolist() == [0, 1, 0]


def test_ties_without_discounting_end_the_episode() -> None:
    """Staying is as good as ending, since the agent can end later; but staying forever has the value 0."""
    assert exact.optimal_policy(one_way())[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("success_rate", [0.9, 0.95, 0.99])
def test_small_differences_do_not_add_up_to_a_bad_policy(success_rate: float) -> None:
    """On this map, nearly all actions are nearly as good: most lead away from the goal."""
    frozen_lake = gym.make("FrozenLake-v1", map_name="8x8", success_rate=success_rate)
    mdp = TabularMDP.from_toy_text(frozen_lake, gamma=1.0)
    policy = exact.optimal_policy(mdp)
    assert exact.objective(mdp, policy) == pytest.approx(1.0, abs=1e-9)
    assert exact.visitation(mdp, policy).sum() < 10_000


@pytest.mark.parametrize(("rewards", "gamma", "end"), [([-1.01, -1.0], 1.0, 1e-8), ([0.999, 1.0], 1 - 1e-8, 0.0)])
def test_small_gains_in_each_step_of_a_long_episode_are_not_ties(
    rewards: list[float], gamma: float, end: float
) -> None:
    transitions = np.array([[[1 - end, end]] * 2, [[0.0, 1.0]] * 2])
    mdp = TabularMDP(transitions, np.array([rewards, [0.0, 0.0]]), np.eye(2)[0], np.array([False, True]), gamma)
    assert exact.optimal_policy(mdp)[0].tolist() == [0.0, 1.0]


def test_a_small_loss_is_taken_for_repeated_gains() -> None:
    """Only leaving state 1 pays more, by less than counts in one step."""
    transitions = np.stack([np.eye(2), np.eye(2)[::-1]], axis=1)
    rewards = np.array([[-1.0, -1.0], [-1.0, -0.991]])
    mdp = TabularMDP(transitions, rewards, np.eye(2)[0], np.zeros(2, bool), 1 - 1e-8)
    assert exact.optimal_policy(mdp).argmax(axis=1).tolist() == [1, 1]


def test_values_that_float64_cannot_hold_are_rejected() -> None:
    """Uphill, an episode takes about 1e20 steps: the solution would have the wrong sign."""
    n = 21
    transitions = np.zeros((n, 1, n))
    for state in range(n - 1):
        transitions[state, 0, state + 1] += 0.1
        transitions[state, 0, max(state - 1, 0)] += 0.9
    transitions[n - 1, 0, n - 1] = 1.0
    terminal = np.arange(n) == n - 1
    rewards = np.where(terminal, 0.0, -1.0)[:, None]
    mdp = TabularMDP(transitions, rewards, np.eye(n)[0], terminal, gamma=1.0)
    with pytest.raises(ValueError, match="episodes hardly ever end"):
        exact.state_values(mdp, np.ones((n, 1)))


def test_endless_optimum_without_discounting_is_rejected() -> None:
    mdp = one_way()
    rewards = mdp.rewards.copy()
    rewards[0, 0] = 1.0
    with pytest.raises(ValueError, match=r"gamma=1\.0: from state 0 the policy never reaches a terminal state"):
        exact.optimal_policy(dataclasses.replace(mdp, rewards=rewards))
    endless = np.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    with pytest.raises(ValueError, match=r"gamma=1\.0: from state 0 no action leads to a terminal state"):
        exact.optimal_policy(dataclasses.replace(mdp, transitions=endless))


@pytest.mark.parametrize("function", [exact.state_values, exact.action_values, exact.visitation, exact.objective])
def test_endless_policy_without_discounting_is_rejected(function) -> None:
    staying = np.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match=r"gamma=1\.0: from state 0 the policy never reaches a terminal .* gamma < 1"):
        function(one_way(), staying)
    function(one_way(gamma=0.99), staying)
    hardly_ending = np.array([[1.0, 1e-30], [1.0, 0.0]])
    with pytest.raises(ValueError, match="singular in float64, or nearly, since episodes hardly ever end"):
        function(one_way(), hardly_ending)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.ones((2, 1)), r"policy must have the shape \(2, 2\), got \(2, 1\)"),
        (np.array([[0.5, 0.5], [0.5, 0.6]]), "policy: the row of state 1 must be probabilities that sum to one"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), "policy: the row of state 0 must be probabilities"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), "policy: the row of state 0 must be probabilities"),
    ],
)
def test_invalid_policies_are_rejected(policy: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact.transition_matrix(one_way(), policy)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_checks_its_policy_and_accepts_lists(function) -> None:
    policy = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert np.array_equal(function(one_way(), policy.tolist()), function(one_way(), policy))
    with pytest.raises(ValueError, match="policy: the row of state 0 must be probabilities"):
        function(one_way(), [[1, 1], [0, 1]])


def test_jacobian_may_be_a_list() -> None:
    policy, grad_policy = np.full((2, 2), 0.5), np.random.default_rng(0).normal(size=(2, 2, 3))
    expected = exact.policy_gradient(one_way(), policy, grad_policy)
    assert np.array_equal(exact.policy_gradient(one_way(), policy.tolist(), grad_policy.tolist()), expected)
    with pytest.raises(ValueError, match=r"grad_policy must have a shape that starts with \(2, 2\), got \(1, 2\)"):
        exact.policy_gradient(one_way(), policy, [[1.0, -1.0]])


def test_float32_policy_is_accepted() -> None:
    mdp = garnet(30, 5, 4, seed=0)
    logits = th.randn((30, 5), generator=th.Generator().manual_seed(0))
    policy = logits.softmax(dim=1).numpy()
    values = exact.state_values(mdp, policy)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, exact.state_values(mdp, logits.double().softmax(dim=1).numpy()), atol=1e-5)


def test_rows_that_sum_to_nearly_one_give_exact_values() -> None:
    """Otherwise, values would be wrong by the error of the sums times 1 / (1 - gamma)."""
    mdp = dataclasses.replace(garnet(5, 4, 3, seed=0, gamma=0.99999), rewards=np.ones((5, 4)))
    rows = np.array([[0.1, 0.2, 0.3, 0.4]] * 5, np.float32)
    np.testing.assert_allclose(exact.state_values(mdp, rows), 100_000.0, rtol=1e-9)
    np.testing.assert_allclose(exact.transition_matrix(mdp, rows).sum(axis=1), 1.0, rtol=1e-15)


def test_jacobian_of_another_policy_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"grad_policy must have a shape that starts with \(2, 2\), got \(3, 2, 7\)"):
        exact.policy_gradient(one_way(), np.full((2, 2), 0.5), np.zeros((3, 2, 7)))


def test_a_forbidding_penalty_does_not_hide_the_best_action() -> None:
    mdp = TabularMDP(np.ones((1, 3, 1)), np.array([[0.0, 1.0, -1e10]]), np.ones(1), np.zeros(1, bool), gamma=0.9)
    assert exact.optimal_policy(mdp).tolist() == [[0.0, 1.0, 0.0]]


def test_gradients_of_the_policy_must_be_finite() -> None:
    mdp = TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), np.ones(1), np.zeros(1, bool), gamma=0.9)
    with pytest.raises(ValueError, match="grad_policy must be finite"):
        exact.policy_gradient(mdp, [[0.5, 0.5]], np.full((1, 2, 3), np.nan))
