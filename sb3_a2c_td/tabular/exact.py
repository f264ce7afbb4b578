r"""Exact values, visits and gradients of a policy in a finite MDP, by solving linear equations.

States that are not terminal are the unknowns; with :math:`P` the transitions among them, everything is a solution of
:math:`(I - \gamma P)\, x = y` or of its transpose. A policy is an array :math:`\tau(a|s)`, float64 ``(S, A)``, whose
rows sum to one; the rows of terminal states matter to nothing.

Every function raises a ``ValueError`` for a policy of another shape or with other sums, and, with
:math:`\gamma = 1`, for a policy under which an episode from some state may never end: episodes have to end from every
state, even where only those that ``initial`` leads to are asked for.

Sources: Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd ed. (2018), chapters 3, 4 and 13; Sutton et
al., *Policy Gradient Methods for Reinforcement Learning with Function Approximation* (NIPS 1999).
"""

import numpy as np
import numpy.typing as npt

from sb3_a2c_td.tabular.mdp import BoolArray, FloatArray, TabularMDP

SUM_TOLERANCE = 1e-6
"""how far the sum of a policy's row may be from one; a softmax in float32 is off by 1e-7"""

TIE_TOLERANCE = 1e-10
"""actions whose values differ by less, relative to the largest value, count as equally good"""


def transition_matrix(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Compute :math:`P_\tau(s \to s') = \sum_a \tau(a|s)\, P(s'|s,a)`.

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    :return: ``(S, S)``, rows sum to one; terminal states stay where they are
    """
    policy = _checked_policy(mdp, policy)
    matrix: FloatArray = np.einsum("ij,ijk->ik", policy, mdp.transitions)
    return matrix


def state_values(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Solve Bellman's equation :math:`(I - \gamma P_\tau)\, V = r_\tau` (Sutton & Barto, eq. 3.14).

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    :return: :math:`V^\tau`, ``(S,)``; 0 in terminal states
    """
    policy = _checked_policy(mdp, policy)
    live = ~mdp.terminal
    matrix = _bellman_matrix(mdp, policy)
    expected_reward = np.einsum("ij,ij->i", policy, mdp.rewards)
    values = np.zeros(mdp.n_states)
    values[live] = _solve(matrix, expected_reward[live])
    return values


def action_values(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Compute :math:`Q^\tau(s,a) = R(s,a) + \gamma \sum_{s'} P(s'|s,a)\, V^\tau(s')` (Sutton & Barto, eq. 3.13).

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    :return: ``(S, A)``; 0 in terminal states
    """
    return _action_values_from(mdp, state_values(mdp, policy))


def objective(mdp: TabularMDP, policy: npt.ArrayLike) -> float:
    r"""Compute :math:`J(\tau) = \sum_s P(s_0 = s)\, V^\tau(s)`, the expected discounted return of an episode.

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    """
    return float(mdp.initial @ state_values(mdp, policy))


def visitation(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Solve :math:`(I - \gamma P_\tau)^\top \eta = P(s_0 = \cdot)` for the discounted visits to every state.

    .. math::

        \eta(s) = \sum_{k \ge 0} \gamma^k\, P(s_k = s \mid \tau)

    It is Sutton & Barto's eq. 9.2, with their remark on discounting.

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    :return: :math:`\eta`, ``(S,)``; 0 in terminal states
    """
    policy = _checked_policy(mdp, policy)
    live = ~mdp.terminal
    visits = np.zeros(mdp.n_states)
    visits[live] = _solve(_bellman_matrix(mdp, policy).T, mdp.initial[live])
    return visits


def policy_gradient(mdp: TabularMDP, policy: npt.ArrayLike, grad_policy: npt.ArrayLike | None = None) -> FloatArray:
    r"""Compute the gradient of :math:`J` by the policy gradient theorem (Sutton & Barto, eq. 13.5).

    .. math::

        \nabla J = \sum_s \eta(s) \sum_a \nabla\tau(a|s)\, Q^\tau(s,a)

    Without ``grad_policy``, the policy is a tabular softmax and the parameters are its logits, for which this is
    :math:`\partial J / \partial z_{sa} = \eta(s)\, \tau(a|s)\, (Q^\tau(s,a) - V^\tau(s))`.

    :param mdp: the process
    :param policy: :math:`\tau(a|s)`, ``(S, A)``
    :param grad_policy: :math:`\nabla\tau(a|s)`, ``(S, A)`` followed by the shape of the parameters
    :return: :math:`\nabla J`, in the shape of the parameters; ``(S, A)`` for the tabular softmax
    :raises ValueError: if ``grad_policy`` does not start with ``(S, A)``
    """
    policy = _checked_policy(mdp, policy)
    visits = visitation(mdp, policy)
    q = action_values(mdp, policy)
    if grad_policy is None:
        baseline = np.einsum("ij,ij->i", policy, q)
        gradient: FloatArray = visits[:, None] * policy * (q - baseline[:, None])
        return gradient
    grad_policy = np.asarray(grad_policy, np.float64)
    if grad_policy.shape[:2] != q.shape:
        raise ValueError(f"grad_policy must have a shape that starts with {q.shape}, got {grad_policy.shape}")
    return np.asarray(np.einsum("i,ij,ij...->...", visits, q, grad_policy))


def optimal_policy(mdp: TabularMDP) -> FloatArray:
    r"""Find an optimal policy by policy iteration (Howard, 1960; Sutton & Barto, §4.3), each policy evaluated exactly.

    It ends, since there are finitely many policies and each is better than the last. Among equally good actions the
    lowest is taken; with :math:`\gamma = 1`, the lowest that leads towards the end of the episode.

    :param mdp: the process
    :return: ``(S, A)``, one action of probability one in each state (the first in terminal states)
    :raises ValueError: with :math:`\gamma = 1`, if from some state no terminal state can be reached, or if it pays to
        go on for ever
    """
    every_action = np.ones((mdp.n_states, mdp.n_actions), bool)
    policy = _first_of(mdp, every_action)
    while True:
        q = action_values(mdp, policy)
        tolerance = TIE_TOLERANCE * np.abs(q).max()
        current = np.einsum("ij,ij->i", policy, q)
        improves = q.max(axis=1) > current + tolerance
        if not improves.any():
            return _first_of(mdp, q >= q.max(axis=1, keepdims=True) - tolerance)
        # only states that improve change: with gamma = 1, a proper policy then stays one
        policy = np.where(improves[:, None], np.eye(mdp.n_actions)[q.argmax(axis=1)], policy)


def _action_values_from(mdp: TabularMDP, values: FloatArray) -> FloatArray:
    q: FloatArray = mdp.rewards + mdp.gamma * (mdp.transitions @ values)
    return q


def _bellman_matrix(mdp: TabularMDP, policy: FloatArray) -> FloatArray:
    r"""Compute :math:`I - \gamma P_\tau` over the states that are not terminal, and check that it has an inverse."""
    live = ~mdp.terminal
    among_live = transition_matrix(mdp, policy)[np.ix_(live, live)]
    if mdp.gamma == 1.0:
        possible = np.einsum("ij,ijk->ik", policy > 0, mdp.transitions > 0).astype(bool)
        endless = np.flatnonzero(~_reaching(mdp.terminal, possible))
        if len(endless):
            raise ValueError(
                f"gamma=1.0: from state {endless[0]} the policy never reaches a terminal state, so I - P is singular; "
                "use gamma < 1, or a policy that ends"
            )
    return np.eye(len(among_live)) - mdp.gamma * among_live


def _solve(matrix: FloatArray, right_side: FloatArray) -> FloatArray:
    try:
        return np.linalg.solve(matrix, right_side).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "I - gamma P is singular in float64: the policy hardly ever ends; use a smaller gamma, or a policy with "
            "larger probabilities of ending"
        ) from error


def _reaching(terminal: BoolArray, possible: BoolArray) -> BoolArray:
    """Mark the states from which a terminal one can be reached along ``possible``, ``(S, S)``."""
    reaching = terminal.copy()
    while (grown := reaching | possible[:, reaching].any(axis=1)).sum() > reaching.sum():
        reaching = grown
    return reaching


def _first_of(mdp: TabularMDP, allowed: BoolArray) -> FloatArray:
    """Take in each state the lowest allowed action, which with gamma = 1 must lead nearer to a terminal state."""
    if mdp.gamma < 1.0:
        return np.asarray(np.eye(mdp.n_actions)[allowed.argmax(axis=1)])
    policy: FloatArray = np.eye(mdp.n_actions)[np.zeros(mdp.n_states, int)]
    possible = (mdp.transitions > 0) & allowed[:, :, None]
    ending = mdp.terminal.copy()
    while not ending.all():
        nearer = possible[:, :, ending].any(axis=2) & ~ending[:, None]
        if not nearer.any():
            raise ValueError(
                f"gamma=1.0: from state {np.flatnonzero(~ending)[0]} no action leads to a terminal state; use gamma < 1"
            )
        found = nearer.any(axis=1)
        policy[found] = np.eye(mdp.n_actions)[nearer.argmax(axis=1)[found]]
        ending |= found
    return policy


def _checked_policy(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    shape = (mdp.n_states, mdp.n_actions)
    array = np.asarray(policy, np.float64)
    if array.shape != shape:
        raise ValueError(f"policy must have the shape {shape}, got {array.shape}")
    wrong = ~((array >= 0).all(axis=1) & (np.abs(array.sum(axis=1) - 1.0) <= SUM_TOLERANCE))
    if wrong.any():
        state = np.flatnonzero(wrong)[0]
        raise ValueError(f"policy: the row of state {state} must be probabilities that sum to one, got {array[state]}")
    return array
