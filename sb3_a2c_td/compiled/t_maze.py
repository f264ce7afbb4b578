"""The T-maze, compiled: the same numbers from the same seeds as those of ``sb3_a2c_td/TMaze-v0``."""

import numpy as np
from gymnasium import spaces

from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.compiled.env import CompiledEnv

FORWARD, LEFT, RIGHT = range(3)


def t_maze(length: int = 10, max_episode_steps: int | None = 100) -> CompiledEnv:
    """Make the environment. :class:`~sb3_a2c_td.envs.TMaze` describes it.

    :param length: number of steps from the sign to the junction
    :param max_episode_steps: steps until an episode is truncated; ``None`` for no limit
    :raises ValueError: if the length is below 1
    """
    check_at_least_one("length", length)

    # the state is the position and the direction on the sign; the length becomes a constant of the compiled functions
    def reset(state: np.ndarray, rng: np.random.Generator) -> None:
        state[0] = 0
        state[1] = LEFT if rng.random() < 0.5 else RIGHT

    def step(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
        at_junction = state[0] == length
        if at_junction and action != FORWARD:
            return (1.0 if action == state[1] else -1.0), True
        if at_junction or action != FORWARD:
            return -0.1, False
        state[0] += 1
        return 0.0, False

    def observe(state: np.ndarray, out: np.ndarray) -> None:
        at_sign = state[0] == 0
        out[0] = at_sign and state[1] == LEFT
        out[1] = at_sign and state[1] == RIGHT
        out[2] = state[0] == length

    return CompiledEnv(
        observation_space=spaces.Box(0.0, 1.0, (3,), np.float32),
        action_space=spaces.Discrete(3),
        state_size=2,
        reset=reset,
        step=step,
        observe=observe,
        max_episode_steps=max_episode_steps,
    )
