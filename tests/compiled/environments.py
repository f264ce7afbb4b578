"""Compiled environments for tests, and the same functions run by Python."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from sb3_a2c_td.compiled import CompiledEnv


def reset_walk(state, rng):
    state[0] = 0.25 * rng.integers(-4, 5)
    state[1] = 0.0


def step_walk(state, action, rng):
    state[0] += 0.25 * (action - 1) * rng.integers(1, 3)
    state[1] += 1.0
    return state[0] - 0.1 * action, rng.random() < 0.15


def step_pushed_walk(state, action, rng):
    state[0] += np.float64(action[0]) - 0.5 * np.float64(action[1])
    state[1] += 1.0
    return abs(state[0]), rng.random() < 0.15


def reset_cell(state, rng):
    state[0] = rng.integers(0, 5)


def step_cell(state, action, rng):
    state[0] = (state[0] + action + rng.integers(0, 2)) % 5
    return 1.0 if state[0] == 0 else 0.0, state[0] == 4


def observe_nothing(state, out):
    out[0] = 0.0


PLANE = spaces.Box(-np.inf, np.inf, (2,), np.float32)
WALK = CompiledEnv(PLANE, spaces.Discrete(3), 2, reset_walk, step_walk, max_episode_steps=7)
PUSHED_WALK = CompiledEnv(
    PLANE, spaces.Box(-1, 1, (2,), np.float32), 2, reset_walk, step_pushed_walk, max_episode_steps=9
)
CELLS = CompiledEnv(
    spaces.Discrete(5), spaces.Discrete(2), 1, reset_cell, step_cell, max_episode_steps=6, state_dtype=np.int64
)
ENVS = {"WALK": WALK, "PUSHED_WALK": PUSHED_WALK, "CELLS": CELLS}


class UncompiledEnv(gym.Env):
    """Runs the functions of a compiled environment in Python."""

    def __init__(self, env: CompiledEnv) -> None:
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.state = np.zeros(env.state_size, env.state_dtype)

    def _observation(self) -> Any:
        if isinstance(self.observation_space, spaces.Discrete):
            return int(self.state[0])
        return self.state.astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.env.reset(self.state, self.np_random)
        return self._observation(), {}

    def step(self, action):
        reward, terminated = self.env.step(self.state, action, self.np_random)
        return self._observation(), float(reward), bool(terminated), False, {}


def uncompiled(env: CompiledEnv) -> gym.Env:
    """Make the environment as Gymnasium would, with its time limit."""
    assert env.max_episode_steps is not None
    return TimeLimit(UncompiledEnv(env), env.max_episode_steps)
