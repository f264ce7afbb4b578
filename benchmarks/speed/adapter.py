"""What the adapter of native vector environments to SB3 costs."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps

N_ENVS = 1024


class EndlessCartPole(CartPoleVectorEnv):
    """CartPole where nothing counts as falling."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, max_episode_steps=np.iinfo(np.int32).max)
        self.x_threshold = self.theta_threshold_radians = np.inf


def microseconds(rounds: int, n_steps: int = 200) -> tuple[float, float]:
    """Time steps of native environments alone and through the adapter, in turns, with no episode ending.

    :param rounds: the number of turns
    :param n_steps: steps in a turn
    :return: microseconds for a step of all environments alone, and what the adapter adds: medians over the rounds
    """
    bare, adapter = EndlessCartPole(N_ENVS), GymnasiumVecEnv(EndlessCartPole(N_ENVS))
    bare.reset(seed=0)
    adapter.seed(0)
    adapter.reset()
    actions = np.random.default_rng(0).integers(0, 2, (n_steps, N_ENVS))
    alone, added = [], []
    with dropping_autoreset_steps(adapter):
        for _ in range(rounds):
            alone.append(_microseconds_of_a_step(bare.step, actions))
            added.append(_microseconds_of_a_step(adapter.step, actions) - alone[-1])
    return median(alone), median(added)


def _microseconds_of_a_step(step: Callable[[np.ndarray], Any], actions: np.ndarray) -> float:
    start = time.perf_counter()
    for action in actions:
        step(action)
    return 1e6 * (time.perf_counter() - start) / len(actions)
