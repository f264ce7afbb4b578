"""Finite MDPs of the literature."""

import numpy as np

from sb3_a2c_td.arguments import check_at_least_one, check_number
from sb3_a2c_td.tabular.mdp import TabularMDP, expected_rewards


def random_walk(
    n_states: int = 5, left_reward: float = 0.0, right_reward: float = 1.0, gamma: float = 1.0
) -> TabularMDP:
    r"""Build the random walk (Sutton & Barto, 2018, example 6.2).

    States 1 to n stand in a row between the terminal states 0 and n + 1. Each step goes left or right with equal
    probability; only the last step pays. Episodes start in the middle, with an even n in the left one of the two
    middle states. Without discounting, state i has the value
    :math:`V(i) = \text{left} + (\text{right} - \text{left})\, i / (n + 1)`: 1/6 to 5/6 for n = 5. The walk of
    example 7.1 has n = 19 and pays -1 on the left.

    There are two actions, which do the same. So every policy has the same values: the critic has a fixed target while
    the actor moves, and the exact policy gradient is zero.

    :param n_states: number of states that are not terminal, n
    :param left_reward: what the step into state 0 pays
    :param right_reward: what the step into state n + 1 pays
    :param gamma: discount factor
    :return: a process of n + 2 states and 2 actions
    :raises ValueError: naming the argument that is out of range
    """
    check_at_least_one("n_states", n_states)
    check_number("left_reward", left_reward)
    check_number("right_reward", right_reward)
    total = n_states + 2
    walking = np.arange(1, n_states + 1)
    transitions, paid = np.zeros((2, total, 2, total))
    transitions[walking, :, walking - 1] = 0.5
    transitions[walking, :, walking + 1] = 0.5
    terminal = np.zeros(total, bool)
    terminal[[0, -1]] = True
    transitions[terminal, :, terminal] = 1.0
    paid[1, :, 0] = left_reward
    paid[n_states, :, n_states + 1] = right_reward
    initial = np.zeros(total)
    initial[(n_states + 1) // 2] = 1.0
    return TabularMDP(transitions, expected_rewards(transitions, paid), initial, terminal, gamma, paid)


def garnet(
    n_states: int = 20, n_actions: int = 4, branching: int = 3, seed: int = 0, gamma: float = 0.95
) -> TabularMDP:
    """Draw a Garnet, a random MDP of given size that goes on for ever.

    Every action leads to ``branching`` states, drawn without replacement, whose probabilities are the parts into which
    uniform cuts divide the unit interval; each state and action has one reward, drawn from N(0, 1). Episodes start in
    any state with equal probability. It is the form of Bhatnagar et al., *Natural actor-critic algorithms* (Automatica
    45, 2009), with the rewards' noise and the nonstationarity left out; the name, an acronym for "generic average
    reward nonstationary environment testbed", goes back to Archibald et al., *On the generation of Markov decision
    processes* (Journal of the Operational Research Society 46, 1995).

    :param n_states: number of states, S
    :param n_actions: number of actions, A
    :param branching: number of states that can follow a state and an action, at most S
    :param seed: the same seed draws the same process
    :param gamma: discount factor, below 1
    :return: a process of S states, none of them terminal
    :raises ValueError: naming the argument that is out of range
    """
    for name, value in {"n_states": n_states, "n_actions": n_actions, "branching": branching}.items():
        check_at_least_one(name, value)
    if branching > n_states:
        raise ValueError(f"branching must be at most n_states={n_states}, got {branching}")
    _check_discounted(gamma)
    rng = np.random.default_rng(seed)
    shape = (n_states, n_actions)
    followers = rng.permuted(np.broadcast_to(np.arange(n_states), (*shape, n_states)), axis=2)[:, :, :branching]
    cuts = np.sort(rng.random((*shape, branching - 1)), axis=2)
    transitions = np.zeros((*shape, n_states))
    np.put_along_axis(transitions, followers, np.diff(cuts, axis=2, prepend=0.0, append=1.0), axis=2)
    rewards = rng.standard_normal(shape)
    return TabularMDP(transitions, rewards, np.full(n_states, 1 / n_states), np.zeros(n_states, bool), gamma)


def chain(n_states: int = 5, gamma: float = 0.99) -> TabularMDP:
    """Build the chain of Osband et al., *Deep Exploration via Bootstrapped DQN* (NIPS 2016), section 5.

    States 0 to n - 1 stand in a row, and actions 0 and 1 go left and right for sure. To go left in the first state
    pays 1/1000 and to go right in the last one pays 1; both stay where they are. Episodes start in state 1, beside the
    small reward, and never end by themselves (theirs are cut after n + 9 steps). It is optimal to go right everywhere,
    unless the discount makes the far end not worth the way.

    :param n_states: number of states, n, at least 2
    :param gamma: discount factor, below 1
    :return: a process of n states and 2 actions
    :raises ValueError: naming the argument that is out of range
    """
    check_at_least_one("n_states", n_states)
    if n_states < 2:
        raise ValueError(f"n_states must be at least 2, got {n_states}")
    _check_discounted(gamma)
    states = np.arange(n_states)
    transitions = np.zeros((n_states, 2, n_states))
    transitions[states, 0, np.maximum(states - 1, 0)] = 1.0
    transitions[states, 1, np.minimum(states + 1, n_states - 1)] = 1.0
    rewards = np.zeros((n_states, 2))
    rewards[0, 0] = 1e-3
    rewards[-1, 1] = 1.0
    initial = np.zeros(n_states)
    initial[1] = 1.0
    return TabularMDP(transitions, rewards, initial, np.zeros(n_states, bool), gamma)


def _check_discounted(gamma: float) -> None:
    check_number("gamma", gamma, low=0.0, high=1.0)
    if gamma == 1.0:
        raise ValueError(f"gamma must be below 1, got {gamma}: the process has no end, so its values would be infinite")
