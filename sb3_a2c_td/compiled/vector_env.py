"""A compiled environment as a native vector environment of Gymnasium."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sb3_a2c_td.compiled.batch import EnvBatch
from sb3_a2c_td.compiled.env import (
    CompiledEnv,
    check_no_options,
    check_render_mode,
    copied_spaces,
    render_modes,
)
from sb3_a2c_td.vec_env.infos import final_infos


class CompiledVectorEnv(VectorEnv[Any, Any, Any]):
    """Copies of a compiled environment, which one compiled call steps.

    A copy whose episode ends is reset in the same step (``AutoresetMode.SAME_STEP``), and ``final_obs`` has the last
    observation of the episode, as in ``SyncVectorEnv``. Each copy has its own random generator.

    :param env: the environment
    :param num_envs: number of copies
    :param max_episode_steps: steps until an episode is truncated; by default those of the environment, and -1 for no
        limit
    :param render_mode: ``"rgb_array"`` for the pictures of its function ``render``, one per copy
    :raises ImportError: if numba is not installed
    :raises ValueError: if a function does not compile, or an argument is invalid
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 30,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        env: CompiledEnv,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(env, render_mode)
        self.compiled_env = env
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_modes": render_modes(env)}
        self.batch = EnvBatch(env, num_envs, max_episode_steps)
        """the copies"""
        self.single_observation_space, self.single_action_space = copied_spaces(env)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every copy.

        :param seed: a seed for each copy, or that of the first one; the next ones have the next numbers
        :param options: must be empty
        :raises ValueError: if there are options
        """
        check_no_options(options)
        if seed is not None:
            seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
            self.batch.seed(seeds)
        return self.batch.reset(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a step in every copy, and reset those whose episode ended.

        :param actions: ``(num_envs, *action_shape)``
        :raises ResetNeeded: before the first reset
        :raises ValueError: if a discrete action is none of the choices; continuous ones are not checked
        """
        if self.batch.n_moves == 0:
            raise ResetNeeded("Cannot call step() before reset()")
        batch = self.batch
        observations = batch.step(actions)
        ended = batch.terminated | batch.truncated
        infos = final_infos(batch.last_observations(np.flatnonzero(ended)), ended) if ended.any() else {}
        return observations, batch.rewards.copy(), batch.terminated.copy(), batch.truncated.copy(), infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draw the state of every copy.

        :return: a picture per copy; ``None`` without a ``render_mode``
        """
        return None if self.render_mode is None else tuple(self.batch.pictures())
