"""A compiled environment as an SB3 ``VecEnv``."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from sb3_a2c_td.compiled.batch import EnvBatch
from sb3_a2c_td.compiled.env import CompiledEnv, check_no_options, copied_spaces
from sb3_a2c_td.compiled.vector_env import CompiledVectorEnv
from sb3_a2c_td.vec_env.episode_statistics import EpisodeStatistics
from sb3_a2c_td.vec_env.infos import RUNNING_INFO, Info


class CompiledVecEnv(VecEnv):
    """Copies of a compiled environment, which one compiled call steps.

    It returns what ``DummyVecEnv`` of monitored environments returns, except that the infos of running episodes share
    one read-only dict. It has no single environments: ``set_attr`` and ``env_method`` raise ``AttributeError``.

    :param env: the environment
    :param n_envs: how many copies
    :raises ImportError: if numba is not installed
    :raises ValueError: if a function does not compile, or ``n_envs`` is below 1
    """

    def __init__(self, env: CompiledEnv, n_envs: int = 1) -> None:
        self._set_up(EnvBatch(env, n_envs))

    @classmethod
    def sharing(cls, env: CompiledVectorEnv) -> Self:
        """Return the copies of a native vector environment as a ``VecEnv``. Stepping one also steps the other.

        :param env: the native vector environment
        """
        vec_env = cls.__new__(cls)
        vec_env._set_up(env.batch)
        return vec_env

    def _set_up(self, batch: EnvBatch) -> None:
        n_envs = len(batch.states)
        self._batch = batch
        self.statistics = EpisodeStatistics(n_envs)
        """returns and lengths of the running episodes"""
        self._actions = batch.new_actions()
        self._was_reset = False
        super().__init__(n_envs, *copied_spaces(batch.env))

    @property
    def n_moves(self) -> int:
        """How many times the environments were stepped or reset."""
        return self._batch.n_moves

    # What compiled code needs to continue these environments

    @property
    def compiled_env(self) -> CompiledEnv:
        """The environment."""
        return self._batch.env

    @property
    def function_list(self) -> Any:
        """The compiled ``(reset, step, observe)`` in a typed list, which numba takes faster as an argument."""
        return self._batch.function_list

    @property
    def states(self) -> np.ndarray:
        """The states, ``(n_envs, state_size)``."""
        return self._batch.states

    @property
    def rngs(self) -> Any:
        """The random generators, in a typed list of numba."""
        return self._batch.rngs

    @property
    def n_steps(self) -> np.ndarray:
        """Steps of the running episodes, int64 ``(n_envs,)``."""
        return self._batch.n_steps

    @property
    def max_episode_steps(self) -> int:
        """Steps until an episode is truncated; a number that no episode reaches if there is no limit."""
        return self._batch.max_episode_steps

    def count_steps(self, n: int) -> None:
        """Count steps that compiled code took.

        :param n: how many
        """
        self._batch.n_moves += n
        self.statistics.skip(n, self.n_steps)

    # Resetting and stepping

    def reset(self) -> np.ndarray:
        """Reset all environments, with the seeds that were set.

        :return: the first observations, ``(n_envs, *observation_shape)``
        :raises ValueError: if options were set
        """
        for options in self._options:
            check_no_options(options)
        self._batch.seed(self._seeds)
        self._reset_seeds()
        self._reset_options()
        self.statistics.reset()
        self._was_reset = True
        return self._batch.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions for the next :meth:`step_wait`.

        :param actions: ``(n_envs, *action_shape)``
        :raises RuntimeError: before the first :meth:`reset`
        """
        if not self._was_reset:
            raise RuntimeError("Call reset() before the first step of a CompiledVecEnv.")
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments in one compiled call.

        :return: observations, rewards (float32), dones (bool) and infos, one of each for every environment
        :raises ValueError: if an action is invalid
        """
        batch = self._batch
        observations = batch.step(self._actions)
        self.statistics.add(batch.rewards)
        dones = np.logical_or(batch.terminated, batch.truncated)
        infos: list[Info] = [RUNNING_INFO] * self.num_envs
        if np.count_nonzero(dones):
            self._end_episodes(dones, infos)
        return observations, batch.rewards.astype(np.float32), dones, infos

    def _end_episodes(self, dones: np.ndarray, infos: list[Info]) -> None:
        """Write the infos of ended episodes."""
        ended = np.flatnonzero(dones)
        last_observations = self._batch.last_observations(ended)
        is_truncation = self._batch.truncated & ~self._batch.terminated
        for i, (env, statistics) in enumerate(zip(ended.tolist(), self.statistics.finish(ended), strict=True)):
            infos[env] = {
                **statistics,
                "TimeLimit.truncated": bool(is_truncation[env]),
                "terminal_observation": last_observations[i],
            }

    # The rest of VecEnv

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of :attr:`compiled_env`, once for each environment, or the render mode.

        :param attr_name: the attribute
        :param indices: the environments, all by default
        :raises AttributeError: if there is no such attribute
        """
        if attr_name == "render_mode":
            value: Any = None if self.compiled_env.render is None else "rgb_array"
        else:
            value = getattr(self.compiled_env, attr_name)
        return [value for _ in self._indices(indices)]

    def _indices(self, indices: VecEnvIndices) -> list[int]:
        # the constructor of VecEnv asks for the render mode before it knows how many there are
        return list(range(len(self.states)) if indices is None else self._get_indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise an error, since there are no single environments.

        :param attr_name: the attribute
        :param value: not used
        :param indices: not used
        :raises AttributeError: always
        """
        raise AttributeError(
            f"set_attr({attr_name!r}): a compiled environment has no single environments, and its functions are "
            "compiled. Make another CompiledEnv."
        )

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Raise an error, since there are no single environments.

        :param method_name: the method
        :param args: not used
        :param indices: not used
        :param kwargs: not used
        :raises AttributeError: always
        """
        raise AttributeError(f"env_method({method_name!r}): a compiled environment has no single environments")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Check which environments are in a wrapper: in ``Monitor`` all, since its statistics are there, else none.

        :param wrapper_class: the wrapper
        :param indices: the environments, all by default
        """
        return [wrapper_class is Monitor for _ in self._indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each environment, if :attr:`compiled_env` has a function ``render``."""
        if self.compiled_env.render is None:
            warnings.warn("the environment gives no pictures: CompiledEnv(render=...) draws them", stacklevel=2)
            return [None for _ in range(self.num_envs)]
        return self._batch.pictures()

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
