"""A compiled environment as a Gymnasium environment."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from sb3_a2c_td.compiled.batch import EnvBatch
from sb3_a2c_td.compiled.env import (
    CompiledEnv,
    check_no_options,
    check_render_mode,
    copied_spaces,
    render_modes,
)


class CompiledGymnasiumEnv(gym.Env[Any, Any]):
    """One copy of a compiled environment.

    Each step goes through Python. To train on many copies, or one, :class:`~sb3_a2c_td.compiled.CompiledVecEnv` takes
    less time.

    :param env: the environment
    :param render_mode: ``"rgb_array"`` for the pictures of its function ``render``
    :param max_episode_steps: steps until an episode is truncated; by default those of the environment, and -1 for no
        limit
    :raises ImportError: if numba is not installed
    :raises ValueError: if a function does not compile, or the render mode is unknown
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, env: CompiledEnv, render_mode: str | None = None, max_episode_steps: int | None = None) -> None:
        check_render_mode(env, render_mode)
        self.compiled_env = env
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_modes": render_modes(env)}
        self.observation_space, self.action_space = copied_spaces(env)
        self._batch = EnvBatch(env, 1, max_episode_steps)
        self._np_random = self._batch.generators[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        :param seed: seed of the random generator
        :param options: must be empty
        :raises ValueError: if there are options
        """
        check_no_options(options)
        if seed is not None:
            self._batch.seed([seed])
            self._np_random_seed = seed
        return self._batch.reset()[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step.

        :param action: the action
        :raises ResetNeeded: before the first reset
        :raises ValueError: if a discrete action is none of the choices; a continuous one is not checked
        """
        batch = self._batch
        if batch.n_moves == 0:
            raise ResetNeeded("Cannot call step() before reset()")
        observation = batch.advance(np.asarray(action)[np.newaxis])[0]
        return observation, float(batch.rewards[0]), bool(batch.terminated[0]), bool(batch.truncated[0]), {}

    def render(self) -> Any:
        """Draw the state.

        :return: RGB, ``(height, width, 3)``; ``None`` without a ``render_mode``
        """
        if self.render_mode is None:
            return None
        return self._batch.pictures()[0]
