r"""Robbins–Monro iterations, and TD(0) and Q-learning as instances of them.

``M`` independent replicas run at once, along the first axis of every array.

Sources: Robbins & Monro, *A Stochastic Approximation Method* (1951), https://doi.org/10.1214/aoms/1177729586;
Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd ed. (2018), chapter 6;
Watkins & Dayan, *Q-learning* (1992), https://doi.org/10.1007/BF00992698.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from sb3_a2c_td.tabular.exact import checked_policy
from sb3_a2c_td.tabular.mdp import TabularMDP, check_distributions

Sample = TypeVar("Sample")
StepSize = Callable[[np.ndarray], np.ndarray]
r"""computes :math:`\alpha_t` of an array of times :math:`t`, as :class:`~sb3_a2c_td.schedules.PowerLaw` does"""


def robbins_monro(
    f: Callable[[Sample, np.ndarray], np.ndarray],
    sample: Callable[[np.ndarray], Sample],
    step_size: StepSize,
    theta: np.ndarray,
    updated: Callable[[Sample, np.ndarray], np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    r"""Find :math:`\theta` with :math:`E_{s \sim p_\theta}[f(s, \theta)] = 0` from samples.

    .. math:: \theta_{t+1} = \theta_t - \alpha_t f(s_t, \theta_t), \quad s_t \sim p_{\theta_t}

    The iteration converges if :math:`\sum \alpha_t = \infty` and :math:`\sum \alpha_t^2 < \infty` along the updates of
    each component, see :func:`~sb3_a2c_td.schedules.check_robbins_monro`, under conditions on f that hold for TD(0) and
    Q-learning with :math:`\gamma < 1` (docs/theory.md has those for :math:`\gamma = 1`). ``step_size`` is not checked,
    so that you can try others too.

    :param f: :math:`f(s, \theta)`, in the shape of :math:`\theta`
    :param sample: draws :math:`s_t` from :math:`p_\theta`, given :math:`\theta`
    :param step_size: computes :math:`\alpha_t`, elementwise for arrays of times
    :param theta: :math:`\theta_0`, of any shape
    :param updated: computes the components that a sample updates, given the sample and :math:`\theta_t`, bool in the
        shape of :math:`\theta`. Each component then has its own time, the number of samples that updated it so far (an
        asynchronous iteration). With ``None``, all components share one time, the number of samples
    :return: an infinite iterator of :math:`\theta_1, \theta_2, \dots`
    """
    # integers would cut off the first step
    theta = theta * 1.0
    t = np.zeros(() if updated is None else theta.shape)
    while True:
        s = sample(theta)
        counted = 1 if updated is None else updated(s, theta)
        theta = theta - step_size(t) * f(s, theta)
        t = t + counted
        yield theta


class TransitionSample(NamedTuple):
    """One transition ``(s, a, r, s')`` per replica."""

    state: np.ndarray
    """int ``(M,)``"""
    action: np.ndarray
    """int ``(M,)``"""
    reward: np.ndarray
    """``(M,)``"""
    discount: np.ndarray
    r""":math:`\gamma`, or 0 where :math:`s'` is terminal, ``(M,)``"""
    next_state: np.ndarray
    """int ``(M,)``"""


def independent_transitions(
    mdp: TabularMDP, policy: np.ndarray, states: np.ndarray, n_replicas: int, rng: np.random.Generator
) -> Callable[[np.ndarray], TransitionSample]:
    r"""Make a sampler that draws every state :math:`s` independently.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :param states: probabilities of :math:`s`, ``(S,)``; 0 for terminal states
    :param n_replicas: number of replicas ``M``
    :param rng: random generator
    :return: a sampler; it ignores its argument :math:`\theta`
    :raises ValueError: if the policy or the states are no probabilities, or have another shape
    """
    dynamics = _Dynamics(mdp, policy, rng)
    states = np.asarray(states, np.float64)
    if states.shape != mdp.initial.shape:
        raise ValueError(f"states must have the shape {mdp.initial.shape}, got {states.shape}")
    check_distributions("states", states)
    if states[mdp.terminal].any():
        raise ValueError("states: a terminal state has no transitions; set its probability to 0")
    cumulative = np.cumsum(states)
    return lambda _: dynamics.transitions(_draw(np.broadcast_to(cumulative, (n_replicas, len(states))), rng))


def trajectories(
    mdp: TabularMDP, policy: np.ndarray, n_replicas: int, rng: np.random.Generator
) -> Callable[[np.ndarray], TransitionSample]:
    r"""Make a sampler that follows episodes: :math:`s` is the previous :math:`s'`, or the start of a new episode.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :param n_replicas: number of replicas ``M``
    :param rng: random generator
    :return: a sampler; it ignores its argument :math:`\theta`
    :raises ValueError: if the policy has no probabilities, or another shape
    """
    dynamics = _Dynamics(mdp, policy, rng)
    cumulative = np.broadcast_to(np.cumsum(mdp.initial), (n_replicas, len(mdp.initial)))
    state = _draw(cumulative, rng)

    def sample(_: np.ndarray) -> TransitionSample:
        nonlocal state
        transition = dynamics.transitions(state)
        state = np.where(mdp.terminal[transition.next_state], _draw(cumulative, rng), transition.next_state)
        return transition

    return sample


class _Dynamics:
    """Draws actions, rewards and next states."""

    def __init__(self, mdp: TabularMDP, policy: np.ndarray, rng: np.random.Generator) -> None:
        self._mdp = mdp
        self._rng = rng
        self._actions = np.cumsum(checked_policy(mdp, policy), axis=1)
        self._next_states = np.cumsum(mdp.transitions, axis=2)

    def transitions(self, state: np.ndarray) -> TransitionSample:
        action = _draw(self._actions[state], self._rng)
        next_state = _draw(self._next_states[state, action], self._rng)
        if self._mdp.transition_rewards is None:
            reward = self._mdp.rewards[state, action]
        else:
            reward = self._mdp.transition_rewards[state, action, next_state]
        discount = self._mdp.gamma * ~self._mdp.terminal[next_state]
        return TransitionSample(state, action, reward, discount, next_state)


def _draw(cumulative: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one index per row of cumulative probabilities, ``(M, n)``."""
    # the last sum may be rounded to less than 1
    u = rng.random(len(cumulative)) * cumulative[:, -1]
    index: np.ndarray = np.sum(u[:, None] >= cumulative, axis=1)
    return index


def td0_f(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    r"""Compute :math:`f(s_t, V) = -(r + \gamma_t V(s') - V(s))` at the component :math:`s`, and 0 at all others.

    By Bellman's equation :math:`V(s) = E[r + \gamma V(s')]`, its expectation is zero at :math:`V^\pi`.

    :param transition: the sample :math:`s_t`
    :param values: :math:`V`, ``(M, S)``
    :return: :math:`f`, ``(M, S)``
    """
    rows = _replicas(transition, values)
    target = transition.reward + transition.discount * values[rows, transition.next_state]
    f = np.zeros_like(values)
    f[rows, transition.state] = values[rows, transition.state] - target
    return f


def q_learning_f(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    r"""Compute :math:`f(s_t, Q) = -(r + \gamma_t \max_{a'} Q(s', a') - Q(s, a))` at :math:`(s, a)`, 0 at all others.

    By Bellman's optimality equation :math:`Q(s, a) = r + \gamma E_{s'} \max_{a'} Q(s', a')`, its expectation is zero at
    :math:`Q^*`, for any policy that draws the actions.

    :param transition: the sample :math:`s_t`
    :param values: :math:`Q`, ``(M, S, A)``
    :return: :math:`f`, ``(M, S, A)``
    """
    rows = _replicas(transition, values)
    target = transition.reward + transition.discount * values[rows, transition.next_state].max(axis=1)
    f = np.zeros_like(values)
    f[rows, transition.state, transition.action] = values[rows, transition.state, transition.action] - target
    return f


def _replicas(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    """Return the indices of the replicas, ``(M,)``."""
    n = len(transition.state)
    # numpy would give all rows the same transition
    if len(values) != n:
        raise ValueError(f"values has {len(values)} rows, and sample draws the transitions of {n} replicas")
    return np.arange(n)


def td0(
    sample: Callable[[np.ndarray], TransitionSample],
    step_size: StepSize,
    values: np.ndarray,
    count_visits: bool = True,
) -> Iterator[np.ndarray]:
    r"""TD(0), :math:`V(s) \leftarrow V(s) + \alpha_t [r + \gamma_t V(s') - V(s)]`, as a Robbins–Monro iteration.

    :param sample: draws transitions, see :func:`trajectories` and :func:`independent_transitions`
    :param step_size: computes :math:`\alpha_t` of a time
    :param values: :math:`V_0`, ``(M, S)``; 0 at terminal states
    :param count_visits: whether the time :math:`t` of :math:`V(s)` is the number of visits to :math:`s` rather than the
        number of all samples
    :return: an infinite iterator of :math:`V_1, V_2, \dots`
    """
    return robbins_monro(td0_f, sample, step_size, values, _visited_state if count_visits else None)


def q_learning(
    sample: Callable[[np.ndarray], TransitionSample],
    step_size: StepSize,
    values: np.ndarray,
    count_visits: bool = True,
) -> Iterator[np.ndarray]:
    r"""Watkins' Q-learning as a Robbins–Monro iteration.

    .. math:: Q(s, a) \leftarrow Q(s, a) + \alpha_t [r + \gamma_t \max_{a'} Q(s', a') - Q(s, a)]

    :param sample: draws transitions; their policy must try every action in every state again and again
    :param step_size: computes :math:`\alpha_t` of a time
    :param values: :math:`Q_0`, ``(M, S, A)``; 0 at terminal states
    :param count_visits: whether the time :math:`t` of :math:`Q(s, a)` is the number of visits to :math:`(s, a)` rather
        than the number of all samples
    :return: an infinite iterator of :math:`Q_1, Q_2, \dots`
    """
    return robbins_monro(q_learning_f, sample, step_size, values, _visited_pair if count_visits else None)


def _visited_state(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    visited = np.zeros(values.shape, bool)
    visited[np.arange(len(values)), transition.state] = True
    return visited


def _visited_pair(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    visited = np.zeros(values.shape, bool)
    visited[np.arange(len(values)), transition.state, transition.action] = True
    return visited
