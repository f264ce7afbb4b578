r"""Robbins–Monro iterations, with TD(0) and Q-learning as two of them.

Several independent runs are made at once: an array's first axis runs over these ``M`` replicas.

Sources: Robbins & Monro, *A Stochastic Approximation Method* (1951), https://doi.org/10.1214/aoms/1177729586;
Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd ed. (2018), chapter 6;
Watkins & Dayan, *Q-learning* (1992), https://doi.org/10.1007/BF00992698.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from sb3_a2c_td.tabular.mdp import TabularMDP

Sample = TypeVar("Sample")
StepSize = Callable[[np.ndarray], np.ndarray]
r""":math:`\alpha` of an array of times :math:`t`, such as :class:`~sb3_a2c_td.schedules.PowerLaw`"""


def robbins_monro(
    f: Callable[[Sample, np.ndarray], np.ndarray],
    sample: Callable[[np.ndarray], Sample],
    step_size: StepSize,
    theta: np.ndarray,
    concerned: Callable[[Sample, np.ndarray], np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    r"""Seek :math:`\theta` with :math:`E_{s \sim \tau_\theta}[f(s, \theta)] = 0` from samples alone.

    .. math:: \theta_{t+1} = \theta_t - \alpha_t f(s_t, \theta_t), \quad s_t \sim \tau_{\theta_t}

    It converges under :math:`\sum \alpha_t = \infty` and :math:`\sum \alpha_t^2 < \infty`, see
    :func:`~sb3_a2c_td.schedules.check_robbins_monro`; that is not asked of ``step_size``, so that other step sizes
    can be tried.

    :param f: :math:`f(s, \theta)`, in the shape of :math:`\theta`
    :param sample: draws :math:`s_t` from :math:`\tau_\theta`, given :math:`\theta`
    :param step_size: :math:`\alpha` of a time, elementwise for arrays
    :param theta: :math:`\theta_0`, of any shape
    :param concerned: which components a sample concerns, given the sample and :math:`\theta`, bool in the shape of
        :math:`\theta`. Each component then has its own time, the number of samples that concerned it so far (an
        asynchronous iteration); ``None``: one time for all, the number of samples
    :return: :math:`\theta_1, \theta_2, \dots`, without end
    """
    t = np.zeros(() if concerned is None else theta.shape)
    while True:
        s = sample(theta)
        theta = theta - step_size(t) * f(s, theta)
        t = t + (1 if concerned is None else concerned(s, theta))
        yield theta


class TransitionSample(NamedTuple):
    """One transition ``(s, a, r, s')`` for each replica."""

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
    r"""Give a sampler that draws every :math:`s` anew, independently of all before.

    :param mdp: the MDP
    :param policy: probabilities of the actions, ``(S, A)``
    :param states: probabilities of :math:`s`, ``(S,)``; 0 for terminal states
    :param n_replicas: ``M``
    :param rng: what to draw from
    :return: a function of :math:`\theta`, which it does not use
    """
    dynamics = _Dynamics(mdp, policy, rng)
    cumulative = np.cumsum(states)
    return lambda _: dynamics.transitions(_draw(np.broadcast_to(cumulative, (n_replicas, len(states))), rng))


def trajectories(
    mdp: TabularMDP, policy: np.ndarray, n_replicas: int, rng: np.random.Generator
) -> Callable[[np.ndarray], TransitionSample]:
    r"""Give a sampler that follows episodes: :math:`s` is the :math:`s'` before, or begins an episode anew.

    :param mdp: the MDP
    :param policy: probabilities of the actions, ``(S, A)``
    :param n_replicas: ``M``
    :param rng: what to draw from
    :return: a function of :math:`\theta`, which it does not use
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
    """Draws what follows on states."""

    def __init__(self, mdp: TabularMDP, policy: np.ndarray, rng: np.random.Generator) -> None:
        self._mdp = mdp
        self._rng = rng
        self._actions = np.cumsum(policy, axis=1)
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
    """Draw one index from each row of cumulative probabilities, ``(M, n)``."""
    # up to the last sum rather than 1, from which rounding may keep it
    u = rng.random(len(cumulative)) * cumulative[:, -1]
    index: np.ndarray = np.sum(u[:, None] >= cumulative, axis=1)
    return index


def td0_f(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    r"""Compute :math:`f(s_t, V) = -(r + \gamma_t V(s') - V(s))` at the component :math:`s`, and 0 at all others.

    Bellman's equation :math:`V(s) = E[r + \gamma V(s')]`, with all of it taken into the expectation, says that its
    mean is zero at :math:`V^\pi`.

    :param transition: :math:`s_t`, what the iteration calls a sample
    :param values: :math:`V`, ``(M, S)``
    :return: ``(M, S)``
    """
    rows = np.arange(len(values))
    target = transition.reward + transition.discount * values[rows, transition.next_state]
    f = np.zeros_like(values)
    f[rows, transition.state] = values[rows, transition.state] - target
    return f


def q_learning_f(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    r"""Compute :math:`f(s_t, Q) = -(r + \gamma_t \max_{a'} Q(s', a') - Q(s, a))` at :math:`(s, a)`, 0 at all others.

    Bellman's optimality equation :math:`Q(s, a) = r + \gamma E_{s'} \max_{a'} Q(s', a')` says that its mean is zero at
    :math:`Q^*`, whatever policy draws the actions.

    :param transition: :math:`s_t`, what the iteration calls a sample
    :param values: :math:`Q`, ``(M, S, A)``
    :return: ``(M, S, A)``
    """
    rows = np.arange(len(values))
    target = transition.reward + transition.discount * values[rows, transition.next_state].max(axis=1)
    f = np.zeros_like(values)
    f[rows, transition.state, transition.action] = values[rows, transition.state, transition.action] - target
    return f


def td0(
    sample: Callable[[np.ndarray], TransitionSample],
    step_size: StepSize,
    values: np.ndarray,
    own_times: bool = True,
) -> Iterator[np.ndarray]:
    r"""TD(0), :math:`V(s) \leftarrow V(s) + \alpha_t [r + \gamma_t V(s') - V(s)]`, as a Robbins–Monro iteration.

    :param sample: draws transitions, see :func:`trajectories` and :func:`independent_transitions`
    :param step_size: :math:`\alpha` of a time
    :param values: :math:`V_0`, ``(M, S)``; 0 at terminal states
    :param own_times: whether the time of :math:`V(s)` is the number of visits to :math:`s`, or else of all samples
    :return: :math:`V_1, V_2, \dots`, without end
    """
    return robbins_monro(td0_f, sample, step_size, values, _visited_state if own_times else None)


def q_learning(
    sample: Callable[[np.ndarray], TransitionSample],
    step_size: StepSize,
    values: np.ndarray,
    own_times: bool = True,
) -> Iterator[np.ndarray]:
    r"""Watkins' Q-learning as a Robbins–Monro iteration.

    .. math:: Q(s, a) \leftarrow Q(s, a) + \alpha_t [r + \gamma_t \max_{a'} Q(s', a') - Q(s, a)]

    :param sample: draws transitions; their policy must try every action in every state
    :param step_size: :math:`\alpha` of a time
    :param values: :math:`Q_0`, ``(M, S, A)``; 0 at terminal states
    :param own_times: whether the time of :math:`Q(s, a)` is the number of visits to :math:`(s, a)`, or else of all
        samples
    :return: :math:`Q_1, Q_2, \dots`, without end
    """
    return robbins_monro(q_learning_f, sample, step_size, values, _visited_pair if own_times else None)


def _visited_state(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    visited = np.zeros(values.shape, bool)
    visited[np.arange(len(values)), transition.state] = True
    return visited


def _visited_pair(transition: TransitionSample, values: np.ndarray) -> np.ndarray:
    visited = np.zeros(values.shape, bool)
    visited[np.arange(len(values)), transition.state, transition.action] = True
    return visited
