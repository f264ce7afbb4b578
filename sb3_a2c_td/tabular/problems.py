"""Finite MDPs from the literature."""

import numpy as np

from sb3_a2c_td.arguments import check_at_least_one, check_number
from sb3_a2c_td.tabular.mdp import TabularMDP, expected_rewards


def random_walk(
    n_states: int = 5, left_reward: float = 0.0, right_reward: float = 1.0, gamma: float = 1.0
) -> TabularMDP:
    r"""Build the random walk (Sutton & Barto, 2018, example 6.2).

    States 1 to n form a row between the terminal states 0 and n + 1. Each step goes left or right with equal
    probability, and only the last step is rewarded. Episodes start in the middle; if n is even, in the left one of the
    two middle states. Without discounting, state i has the value
    :math:`V(i) = \text{left} + (\text{right} - \text{left})\, i / (n + 1)`: 1/6 to 5/6 for n = 5. The walk of
    example 7.1 has n = 19 and a reward of -1 on the left.

    The two actions have the same effect, so all policies have the same values: the critic has a fixed target while the
    actor changes, and the exact policy gradient is zero.

    :param n_states: number of non-terminal states n
    :param left_reward: reward of the step into state 0
    :param right_reward: reward of the step into state n + 1
    :param gamma: discount factor
    :return: an MDP of n + 2 states and 2 actions
    :raises ValueError: if an argument is out of range
    """
    check_at_least_one("n_states", n_states)
    check_number("left_reward", left_reward)
    check_number("right_reward", right_reward)
    total = n_states + 2
    inner = np.arange(1, n_states + 1)
    transitions, transition_rewards = np.zeros((2, total, 2, total))
    transitions[inner, :, inner - 1] = 0.5
    transitions[inner, :, inner + 1] = 0.5
    terminal = np.zeros(total, bool)
    terminal[[0, -1]] = True
    transitions[terminal, :, terminal] = 1.0
    transition_rewards[1, :, 0] = left_reward
    transition_rewards[n_states, :, n_states + 1] = right_reward
    initial = np.zeros(total)
    initial[(n_states + 1) // 2] = 1.0
    rewards = expected_rewards(transitions, transition_rewards)
    return TabularMDP(transitions, rewards, initial, terminal, gamma, transition_rewards)


def garnet(
    n_states: int = 20, n_actions: int = 4, branching: int = 3, seed: int = 0, gamma: float = 0.95
) -> TabularMDP:
    """Draw a Garnet, a random MDP without terminal states.

    Every action leads to ``branching`` states, drawn without replacement. Their probabilities are the parts into which
    uniform cuts divide the unit interval. The reward of each state and action is drawn from N(0, 1). Episodes start in
    any state with equal probability. This is the form of Bhatnagar et al., *Natural actor-critic algorithms*
    (Automatica 45, 2009), without noise in the rewards and without nonstationarity. The name, an acronym for "generic
    average reward nonstationary environment testbed", is due to Archibald et al., *On the generation of Markov decision
    processes* (Journal of the Operational Research Society 46, 1995).

    :param n_states: number of states S
    :param n_actions: number of actions A
    :param branching: number of possible next states of each state and action, at most S
    :param seed: seed of the random generator
    :param gamma: discount factor, below 1
    :return: an MDP of S states
    :raises ValueError: if an argument is out of range
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

    States 0 to n - 1 form a row. Action 0 goes left and action 1 goes right, deterministically. Going left in the first
    state has a reward of 1/1000, going right in the last state a reward of 1, and both leave the state unchanged.
    Episodes start in state 1, next to the small reward, and never terminate (in the paper they last n + 9 steps). Going
    right everywhere is optimal, unless discounting makes the small reward worth more.

    :param n_states: number of states n, at least 2
    :param gamma: discount factor, below 1
    :return: an MDP of n states and 2 actions
    :raises ValueError: if an argument is out of range
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
        raise ValueError(f"gamma must be below 1, got {gamma}: episodes never end, so values would be infinite")
