r"""Exact values, state visits and gradients of a policy in a finite MDP, from linear equations.

The unknowns are the non-terminal states. With :math:`P` the transitions among them, every result solves
:math:`(I - \gamma P)\, x = y` or its transpose. A policy is an array :math:`\pi(a|s)`, float64 ``(S, A)``, whose rows
sum to one; the rows of terminal states have no effect.

Every function raises a ``ValueError`` if the policy has the wrong shape or its rows do not sum to one. With
:math:`\gamma = 1`, it also raises a ``ValueError`` if episodes from any state may never end, even from a state that is
unreachable from ``initial``.

Sources: Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd ed. (2018), chapters 3, 4 and 13; Sutton et
al., *Policy Gradient Methods for Reinforcement Learning with Function Approximation* (NIPS 1999).
"""

import numpy as np
import numpy.typing as npt

from sb3_a2c_td.tabular.mdp import BoolArray, FloatArray, TabularMDP

SUM_TOLERANCE = 1e-6
"""largest valid deviation of a policy row's sum from one; a float32 softmax is off by 1e-7"""

DIGITS = 12
"""to which probabilities are compared"""

MAX_STEPS = 1e12
"""expected steps of an episode, from which on the results have less than about four correct digits"""

HARDLY_EVER_ENDS = (
    "I - gamma P is singular in float64, or nearly, since episodes hardly ever end; use a smaller gamma, or a policy "
    "with larger probabilities of reaching terminal states"
)

TIE_TOLERANCE = 1e-10
"""actions whose values differ by less, relative to the largest value, count as equally good"""
ROUNDING = 1e-15
"""rounding error of a sum of values, relative to the sum of their sizes"""


def transition_matrix(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Compute :math:`P_\pi(s \to s') = \sum_a \pi(a|s)\, P(s'|s,a)`.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :return: :math:`P_\pi`, ``(S, S)``, rows sum to one; terminal states are absorbing
    """
    policy = checked_policy(mdp, policy)
    matrix: FloatArray = np.einsum("ij,ijk->ik", policy, mdp.transitions)
    return matrix


def state_values(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Solve Bellman's equation :math:`(I - \gamma P_\pi)\, V = r_\pi` (Sutton & Barto, eq. 3.14).

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :return: :math:`V^\pi`, ``(S,)``; 0 in terminal states
    """
    policy = checked_policy(mdp, policy)
    live = ~mdp.terminal
    matrix = _bellman_matrix(mdp, policy)
    expected_reward = np.einsum("ij,ij->i", policy, mdp.rewards)
    values = np.zeros(mdp.n_states)
    values[live] = _solve(matrix, expected_reward[live])
    return values


def action_values(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Compute :math:`Q^\pi(s,a) = R(s,a) + \gamma \sum_{s'} P(s'|s,a)\, V^\pi(s')` (Sutton & Barto, eq. 4.6).

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :return: ``(S, A)``; 0 in terminal states
    """
    return _action_values_from(mdp, state_values(mdp, policy))


def objective(mdp: TabularMDP, policy: npt.ArrayLike) -> float:
    r"""Compute :math:`J(\pi) = \sum_s P(s_0 = s)\, V^\pi(s)`, the expected discounted return of an episode.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :return: :math:`J(\pi)`
    """
    return float(mdp.initial @ state_values(mdp, policy))


def visitation(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    r"""Solve :math:`(I - \gamma P_\pi)^\top \eta = P(s_0 = \cdot)` for the discounted number of visits to every state.

    .. math::

        \eta(s) = \sum_{k \ge 0} \gamma^k\, P(s_k = s \mid \pi)

    This is Sutton & Barto's eq. 9.2 with discounting, as they remark there.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :return: :math:`\eta`, ``(S,)``; 0 in terminal states
    """
    policy = checked_policy(mdp, policy)
    live = ~mdp.terminal
    visits = np.zeros(mdp.n_states)
    visits[live] = _solve(_bellman_matrix(mdp, policy).T, mdp.initial[live])
    return visits


def policy_gradient(mdp: TabularMDP, policy: npt.ArrayLike, grad_policy: npt.ArrayLike | None = None) -> FloatArray:
    r"""Compute the gradient of :math:`J` by the policy gradient theorem (Sutton et al., 1999, theorem 1).

    .. math::

        \nabla J = \sum_s \eta(s) \sum_a \nabla\pi(a|s)\, Q^\pi(s,a)

    Without ``grad_policy``, the parameters are the logits of a tabular softmax policy, and the gradient is
    :math:`\partial J / \partial z_{sa} = \eta(s)\, \pi(a|s)\, (Q^\pi(s,a) - V^\pi(s))`.

    :param mdp: the MDP
    :param policy: :math:`\pi(a|s)`, ``(S, A)``
    :param grad_policy: :math:`\nabla\pi(a|s)`, ``(S, A)`` followed by the shape of the parameters
    :return: :math:`\nabla J`, in the shape of the parameters; ``(S, A)`` for the tabular softmax
    :raises ValueError: if ``grad_policy`` does not start with ``(S, A)``, or is not finite
    """
    policy = checked_policy(mdp, policy)
    visits = visitation(mdp, policy)
    q = action_values(mdp, policy)
    if grad_policy is None:
        baseline = np.einsum("ij,ij->i", policy, q)
        gradient: FloatArray = visits[:, None] * policy * (q - baseline[:, None])
        return gradient
    grad_policy = np.asarray(grad_policy, np.float64)
    if grad_policy.shape[:2] != q.shape:
        raise ValueError(f"grad_policy must have a shape that starts with {q.shape}, got {grad_policy.shape}")
    if not np.isfinite(grad_policy).all():
        raise ValueError("grad_policy must be finite, and has NaN or infinity")
    return np.asarray(np.einsum("i,ij,ij...->...", visits, q, grad_policy))


def optimal_policy(mdp: TabularMDP) -> FloatArray:
    r"""Find an optimal policy by policy iteration with exact evaluation (Howard, 1960; Sutton & Barto, §4.3).

    Policy iteration terminates, since there are finitely many policies and each is better than the last. Among equally
    good actions it chooses the one with the lowest index; with :math:`\gamma = 1`, the one that most probably leads
    towards the end of the episode. Actions are equally good if their values differ by less than :data:`TIE_TOLERANCE`
    times the largest value of all states, and the differences do not add up over an episode.

    :param mdp: the MDP
    :return: a deterministic policy, ``(S, A)``; its action in terminal states is 0. With :math:`\gamma = 1`, it is the
        best of those whose episodes end
    :raises ValueError: with :math:`\gamma = 1`, if no terminal state can be reached from some state, or if episodes
        earn the more the longer they are
    """
    every_action = np.ones((mdp.n_states, mdp.n_actions), bool)
    policy = _first_of(mdp, every_action)
    while True:
        q = action_values(mdp, policy)
        current = np.einsum("ij,ij->i", policy, q)
        # not of q: the value of an action that nobody takes may be huge
        tolerance = TIE_TOLERANCE * np.abs(current).max()
        improved = _improved(policy, q, q.max(axis=1) > current + tolerance)
        if improved is policy:
            # in long episodes, gains below the tolerance may add up
            improved = _improved(policy, q, q.max(axis=1) > current)
            rounding = ROUNDING * np.abs(current).sum()
            if improved is policy or _values_if_it_ends(mdp, improved).sum() <= current.sum() + rounding:
                first = _first_of(mdp, q >= q.max(axis=1, keepdims=True) - tolerance)
                return first if (_values_if_it_ends(mdp, first) >= current - tolerance).all() else policy
        policy = improved


def _improved(policy: FloatArray, q: FloatArray, improves: BoolArray) -> FloatArray:
    """Take the best actions in the states that improve; return the same policy if there are none."""
    # only in these: with gamma = 1, this preserves that every episode ends
    return np.where(improves[:, None], np.eye(q.shape[1])[q.argmax(axis=1)], policy) if improves.any() else policy


def _values_if_it_ends(mdp: TabularMDP, policy: FloatArray) -> FloatArray:
    """Compute the values of a policy; minus infinity if its episodes hardly ever end."""
    try:
        return state_values(mdp, policy)
    except ValueError:
        return np.full(mdp.n_states, -np.inf)


def _action_values_from(mdp: TabularMDP, values: FloatArray) -> FloatArray:
    q: FloatArray = mdp.rewards + mdp.gamma * (mdp.transitions @ values)
    return q


def _bellman_matrix(mdp: TabularMDP, policy: FloatArray) -> FloatArray:
    r"""Compute :math:`I - \gamma P_\pi` over the non-terminal states, and check that it is invertible."""
    live = ~mdp.terminal
    among_live = transition_matrix(mdp, policy)[np.ix_(live, live)]
    if mdp.gamma == 1.0:
        possible = np.einsum("ij,ijk->ik", policy > 0, mdp.transitions > 0).astype(bool)
        endless = np.flatnonzero(~_reaching(mdp.terminal, possible))
        if len(endless):
            raise ValueError(
                f"gamma=1.0: from state {endless[0]} the policy never reaches a terminal state, so I - P is singular; "
                "use gamma < 1, or a policy that reaches one from every state"
            )
    matrix = np.eye(len(among_live)) - mdp.gamma * among_live
    # the expected discounted steps to the end, at least the first one: all results err in proportion to them
    steps = _solve(matrix, np.ones(len(matrix)))
    if not ((steps > 0.5) & (steps < MAX_STEPS)).all():
        raise ValueError(HARDLY_EVER_ENDS)
    return matrix


def _solve(matrix: FloatArray, right_side: FloatArray) -> FloatArray:
    try:
        return np.linalg.solve(matrix, right_side).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise ValueError(HARDLY_EVER_ENDS) from error


def _reaching(terminal: BoolArray, possible: BoolArray) -> BoolArray:
    """Compute the states from which a terminal one can be reached by transitions in ``possible``, ``(S, S)``."""
    reaching = terminal
    while True:
        grown = reaching | possible[:, reaching].any(axis=1)
        if np.array_equal(grown, reaching):
            return reaching
        reaching = grown


def _first_of(mdp: TabularMDP, allowed: BoolArray) -> FloatArray:
    """Choose in each state the lowest allowed action; with gamma = 1, the one that most probably leads to the end.

    States from which a terminal one is reached in fewer steps are decided first, and the others lead to these.
    """
    if mdp.gamma < 1.0:
        return np.asarray(np.eye(mdp.n_actions)[allowed.argmax(axis=1)])
    policy: FloatArray = np.eye(mdp.n_actions)[np.zeros(mdp.n_states, int)]
    decided = mdp.terminal.copy()
    while not decided.all():
        # rounded, so that equal sums are equal
        to_decided = np.where(allowed, mdp.transitions[:, :, decided].sum(axis=2), 0.0).round(DIGITS)
        found = (to_decided > 0).any(axis=1) & ~decided
        if not found.any():
            state = np.flatnonzero(~decided)[0]
            raise ValueError(f"gamma=1.0: from state {state} no action leads to a terminal state; use gamma < 1")
        policy[found] = np.eye(mdp.n_actions)[to_decided.argmax(axis=1)[found]]
        decided |= found
    return policy


def checked_policy(mdp: TabularMDP, policy: npt.ArrayLike) -> FloatArray:
    """Return a policy whose rows sum to one as exactly as float64 can.

    :param mdp: the MDP
    :param policy: probabilities of actions, ``(S, A)``
    :raises ValueError: if the policy has another shape, or a row is no probabilities
    """
    shape = (mdp.n_states, mdp.n_actions)
    array = np.asarray(policy)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"policy must be an array of floats of shape {shape}, got {policy!r}")
    array = array.astype(np.float64)
    if array.shape != shape:
        raise ValueError(f"policy must have the shape {shape}, got {array.shape}")
    wrong = ~((array >= 0).all(axis=1) & (np.abs(array.sum(axis=1) - 1.0) <= SUM_TOLERANCE))
    if wrong.any():
        state = np.flatnonzero(wrong)[0]
        raise ValueError(f"policy: the row of state {state} must be probabilities that sum to one, got {array[state]}")
    # values grow with the error of the sums by up to 1 / (1 - gamma)
    return np.asarray(array / array.sum(axis=1, keepdims=True))
