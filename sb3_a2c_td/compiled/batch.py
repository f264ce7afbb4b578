"""Many copies of a compiled environment, with the calls of the compiled kernels."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.compiled.env import CompiledEnv, compiled_dtype, width
from sb3_a2c_td.compiled.optional_numba import numba_modules

NO_LIMIT = int(np.iinfo(np.int64).max)
"""a number of steps that no episode reaches"""


class EnvBatch:
    """Copies of a compiled environment: their states and random generators, and the arrays that a step fills.

    :param env: the environment
    :param n_envs: how many copies
    :param max_episode_steps: steps until an episode is truncated; by default those of the environment, and -1 for no
        limit, as in Gymnasium
    :raises ImportError: if numba is not installed
    :raises ValueError: if a function does not compile
    """

    COMPILED: ClassVar[tuple[str, ...]] = (
        "_kernels",
        "function_list",
        "rngs",
        "next_observations",
        "rewards",
        "terminated",
        "truncated",
    )
    """attributes that a copy does not take over: they are compiled, or filled by every step"""

    def __init__(self, env: CompiledEnv, n_envs: int, max_episode_steps: int | None = None) -> None:
        check_at_least_one("n_envs", n_envs)
        self.env = env
        limit = env.max_episode_steps if max_episode_steps is None else max_episode_steps
        self.max_episode_steps = NO_LIMIT if limit in (None, -1) else limit
        check_at_least_one("max_episode_steps", self.max_episode_steps)
        self.states = np.zeros((n_envs, env.state_size), env.state_dtype)
        """``(n_envs, state_size)``"""
        self.n_steps = np.zeros(n_envs, np.int64)
        """steps of the running episodes, ``(n_envs,)``"""
        self.generators = [np_random()[0] for _ in range(n_envs)]
        """always the same objects: compiled code has pointers to them, so seeds and saved states change them"""
        self.n_moves = 0
        """how many times the copies were stepped or reset"""
        self._prepare()

    def _prepare(self) -> None:
        functions, self._kernels = numba_modules()
        self.function_list = functions.compiled_functions(self.env).as_list
        self._width = width(self.env.observation_space)
        self._observation_dtype = compiled_dtype(self.env.observation_space)
        self.rngs = self._kernels.typed_list(self.generators)
        n_envs = len(self.generators)
        self.next_observations = self.new_observations()
        self.rewards = np.zeros(n_envs)
        self.terminated = np.zeros(n_envs, bool)
        self.truncated = np.zeros(n_envs, bool)
        observations, actions = self.next_observations, self.new_actions()
        functions.load(self._kernels.reset_all_from_python, *self._reset_arguments(observations))
        functions.load(self._kernels.advance_all_from_python, *self._advance_arguments(actions, observations))
        functions.load(self._kernels.step_all_from_python, *self._step_arguments(actions, observations))

    def new_observations(self) -> np.ndarray:
        """Make an array for observations, ``(n_envs, width)``."""
        return np.zeros((len(self.generators), self._width), self._observation_dtype)

    def new_actions(self) -> np.ndarray:
        """Make an array for actions, int64 ``(n_envs,)`` or float32 ``(n_envs, action_width)``."""
        space = self.env.action_space
        return np.zeros((len(self.generators), *space.shape), compiled_dtype(space))  # type: ignore[misc]

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Seed the generators as Gymnasium's ``reset(seed=...)`` does.

        :param seeds: one for every copy; ``None`` leaves a generator as it is
        """
        for generator, seed in zip(self.generators, seeds, strict=True):
            if seed is not None:
                generator.bit_generator.state = np_random(int(seed))[0].bit_generator.state

    def reset(self) -> np.ndarray:
        """Start an episode in every copy.

        :return: the first observations, ``(n_envs, *observation_shape)``, in a new array
        """
        self.n_moves += 1
        observations = self.new_observations()
        self._kernels.reset_all_from_python(*self._reset_arguments(observations))
        return self._shaped(observations)

    def step(self, actions: npt.ArrayLike) -> np.ndarray:
        """Take a step in every copy, and reset those whose episode ended.

        ``next_observations``, ``rewards``, ``terminated`` and ``truncated`` hold what the step returned.

        :param actions: ``(n_envs, *action_shape)``
        :return: the observations after the step or the reset, ``(n_envs, *observation_shape)``, in a new array
        :raises ValueError: if an action is invalid
        """
        self.n_moves += 1
        observations = self.new_observations()
        self._kernels.step_all_from_python(*self._step_arguments(self.checked(actions), observations))
        return self._shaped(observations)

    def advance(self, actions: npt.ArrayLike) -> np.ndarray:
        """Take a step in every copy, and reset none.

        ``rewards``, ``terminated`` and ``truncated`` hold what the step returned.

        :param actions: ``(n_envs, *action_shape)``
        :return: the observations after the step, ``(n_envs, *observation_shape)``, in a new array
        :raises ValueError: if an action is invalid
        """
        observations = self.new_observations()
        self._kernels.advance_all_from_python(*self._advance_arguments(self.checked(actions), observations))
        self.n_steps += 1
        np.greater_equal(self.n_steps, self.max_episode_steps, out=self.truncated)
        return self._shaped(observations)

    def last_observations(self, ended: np.ndarray) -> np.ndarray:
        """Return a copy of the last observations of episodes that the last step ended.

        :param ended: the indices of the copies, ``(N,)``
        :return: ``(N, *observation_shape)``
        """
        return self._shaped(self.next_observations[ended])

    def pictures(self) -> list[np.ndarray]:
        """Draw the state of every copy with the environment's function ``render``."""
        assert self.env.render is not None
        return [self.env.render(state.copy()) for state in self.states]

    def checked(self, actions: npt.ArrayLike) -> np.ndarray:
        """Return actions in the dtype that compiled code takes. It uses them without checks.

        :param actions: ``(n_envs, *action_shape)``
        :raises ValueError: if they have another shape, or one is none of the choices
        """
        actions, space = np.asarray(actions), self.env.action_space
        shape = (len(self.generators), *space.shape)  # type: ignore[misc]
        if actions.shape != shape:
            raise ValueError(f"actions must have the shape {shape}, got {actions.shape}")
        if not isinstance(space, spaces.Discrete):
            return np.ascontiguousarray(actions, np.float32)
        choices = np.ascontiguousarray(actions, np.int64)
        if actions.dtype.kind not in "iu" or not self._kernels.are_choices(choices, int(space.n)):
            raise ValueError(f"actions must be integers from 0 to {space.n - 1}, got {actions}")
        return choices

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.COMPILED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def _shaped(self, observations: np.ndarray) -> np.ndarray:
        return observations.reshape(-1, *self.env.observation_space.shape)  # type: ignore[misc]

    def _reset_arguments(self, observations: np.ndarray) -> tuple[Any, ...]:
        return self.function_list, self.states, self.rngs, self.n_steps, observations

    def _advance_arguments(self, actions: np.ndarray, observations: np.ndarray) -> tuple[Any, ...]:
        return self.function_list, self.states, self.rngs, actions, observations, self.rewards, self.terminated

    def _step_arguments(self, actions: np.ndarray, observations: np.ndarray) -> tuple[Any, ...]:
        return (
            self.function_list,
            self.states,
            self.rngs,
            self.n_steps,
            self.max_episode_steps,
            actions,
            self.next_observations,
            observations,
            self.rewards,
            self.terminated,
            self.truncated,
        )
