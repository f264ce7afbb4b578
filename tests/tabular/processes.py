"""Random MDPs and policies for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from sb3_a2c_td.tabular.mdp import TabularMDP


def random_policy(rng: np.random.Generator, n_states: int, n_actions: int) -> np.ndarray:
    return rng.dirichlet(np.ones(n_actions), n_states)


@st.composite
def processes(draw: st.DrawFn, gamma: float | None = None) -> TabularMDP:
    """Draw an MDP that may have terminal states; with gamma = 1, every action may end the episode."""
    gamma = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])) if gamma is None else gamma
    n_states = draw(st.integers(2, 6))
    n_terminal = draw(st.integers(gamma == 1.0, n_states - 1))
    n_actions = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # with gamma = 1 every entry is positive, so that every episode ends
    possible = rng.random((n_states, n_actions, n_states)) < (1.0 if gamma == 1.0 else 0.5)
    possible[:, :, 0] |= ~possible.any(axis=2)
    transitions = possible * rng.uniform(0.1, 1.0, possible.shape)
    transitions /= transitions.sum(axis=2, keepdims=True)
    rewards = rng.normal(size=(n_states, n_actions))
    terminal = np.arange(n_states) >= n_states - n_terminal
    transitions[terminal] = 0.0
    transitions[terminal, :, terminal] = 1.0
    rewards[terminal] = 0.0
    initial = np.where(terminal, 0.0, rng.uniform(0.1, 1.0, n_states))
    return TabularMDP(transitions, rewards, initial / initial.sum(), terminal, gamma)


@st.composite
def processes_with_policies(draw: st.DrawFn) -> tuple[TabularMDP, np.ndarray]:
    mdp = draw(processes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return mdp, random_policy(rng, mdp.n_states, mdp.n_actions)
