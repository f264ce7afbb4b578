"""Finite MDPs as compiled environments."""

from typing import Literal

import numpy as np
from gymnasium import spaces

from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.sampling import Distributions, rewards_of


def compiled_mdp(
    mdp: TabularMDP, observation: Literal["discrete", "one_hot"] = "discrete", max_episode_steps: int | None = None
) -> CompiledEnv:
    """Make a compiled environment that samples a finite MDP.

    A seed gives the same states as it gives :class:`~sb3_a2c_td.envs.TabularEnv`. The tables become constants of the
    compiled functions, since all copies share them. So each MDP is compiled once, and numba caches it on disk by the
    contents of its tables (up to a megabyte, without the transitions of probability zero).

    :param mdp: the MDP; the rewards are its ``transition_rewards`` if it has any, otherwise the expected rewards
    :param observation: ``"discrete"``, the index of the state, or ``"one_hot"``, float32 ``(S,)``
    :param max_episode_steps: steps until an episode is truncated; ``None`` for no limit
    :raises ValueError: if the observation is unknown
    """
    if observation not in ("discrete", "one_hot"):
        raise ValueError(f"observation must be one of 'discrete', 'one_hot', got {observation!r}")
    n_actions = mdp.n_actions
    first, following = Distributions(mdp.initial[None]), Distributions(mdp.transitions.reshape(-1, mdp.n_states))
    first_states, first_sums, last_first = first.values, first.sums, int(first.last[0])
    next_states, sums, last = following.values, following.sums, following.last
    rewards, terminal = rewards_of(mdp)[following.rows, following.values], mdp.terminal

    def reset(state: np.ndarray, rng: np.random.Generator) -> None:
        drawn = int(np.searchsorted(first_sums, rng.random(), side="right"))
        state[0] = first_states[min(drawn, last_first)]

    def step(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
        row = state[0] * n_actions + action
        # row + a uniform number may be rounded to row + 1
        drawn = min(int(np.searchsorted(sums, row + rng.random(), side="right")), last[row])
        state[0] = next_states[drawn]
        return rewards[drawn], terminal[state[0]]

    def observe_one_hot(state: np.ndarray, out: np.ndarray) -> None:
        out[:] = 0.0
        out[state[0]] = 1.0

    is_one_hot = observation == "one_hot"
    return CompiledEnv(
        observation_space=spaces.Box(0.0, 1.0, (mdp.n_states,), np.float32)
        if is_one_hot
        else spaces.Discrete(mdp.n_states),
        action_space=spaces.Discrete(n_actions),
        state_size=1,
        reset=reset,
        step=step,
        observe=observe_one_hot if is_one_hot else None,
        max_episode_steps=max_episode_steps,
        state_dtype=np.int64,
    )
