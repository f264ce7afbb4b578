"""``gymnasium.vector`` environments as an SB3 ``VecEnv``."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from sb3_a2c_td.rollout.observations import Observations, named_arrays, paired_arrays, select_rows
from sb3_a2c_td.rollout.validation import BASIC_SPACES
from sb3_a2c_td.vec_env import sub_environments
from sb3_a2c_td.vec_env.autoreset_modes import (
    USE_ANOTHER_MODE,
    autoreset_mode,
    check_partial_resets,
    has_autoreset_steps,
)
from sb3_a2c_td.vec_env.episode_statistics import EpisodeStatistics
from sb3_a2c_td.vec_env.infos import RUNNING_INFO, Info, info_of
from sb3_a2c_td.vec_env.partial_resets import reset_some

FINAL_KEYS = ("final_obs", "_final_obs", "final_info", "_final_info")
"""keys that belong to the ended episode in infos of ``SAME_STEP`` environments; the others belong to the next one"""
MASK_METHOD, MASK_KEY = "action_masks", "action_mask"
"""where sb3-contrib and Gymnasium look for masks of actions"""


class GymnasiumVecEnv(VecEnv):
    """Adapter of a ``gymnasium.vector.VectorEnv`` to SB3, equivalent to ``DummyVecEnv`` with ``Monitor`` wrappers.

    When an episode ends, :meth:`step` returns the first observation of the next one, and an info with
    ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` (return, length and time, as ``Monitor`` writes them)
    and the environment's own last info. How depends on ``env.metadata["autoreset_mode"]``:

    - ``SAME_STEP``: the environment itself returns both observations.
    - ``DISABLED``, and ``NEXT_STEP`` of ``SyncVectorEnv`` and ``AsyncVectorEnv``: the adapter resets the ended
      environments, and only them, within the step: ``reset(options={"reset_mask": dones})``.
    - ``NEXT_STEP`` of any other: the environment resets itself in the step *after* the end. In this autoreset step it
      ignores the action and returns the reward 0. The step leads from the last observation of one episode to the first
      one of the next, so it is no transition. :attr:`autoreset_rows` marks it, and only callers that drop such rows
      may step the environment, see :func:`~sb3_a2c_td.vec_env.autoreset_steps.dropping_autoreset_steps`.

    Differences from ``DummyVecEnv``: the infos of running episodes hold only ``TimeLimit.truncated``, and share one
    read-only dict; all environments are reset with the same options; and a vector environment with one generator for
    all environments takes the first of the seeds.

    :param env: the vector environment, in wrappers of ``gymnasium.wrappers.vector`` or not
    :raises ValueError: if it is no vector environment, has no valid autoreset mode, has other spaces than Box,
        Discrete, MultiDiscrete, MultiBinary or (for observations) a flat Dict of these, or has wrappers that do not
        support partial resets
    """

    n_moves = 0
    """how many times the environments were stepped or reset"""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise ValueError(f"env must be a gymnasium.vector.VectorEnv, got {env!r}")
        _check_space("single_observation_space", env.single_observation_space, (*BASIC_SPACES, spaces.Dict))
        _check_space("single_action_space", env.single_action_space, BASIC_SPACES)
        self.env = env
        self._autoreset_mode = autoreset_mode(env)
        self._is_built_in = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self.has_autoreset_steps = has_autoreset_steps(env)
        """whether the environment resets itself in the step after an episode's end"""
        self.autoreset_steps_are_dropped = False
        """whether the caller drops autoreset steps, see
        :func:`~sb3_a2c_td.vec_env.autoreset_steps.dropping_autoreset_steps`"""
        if self._autoreset_mode != AutoresetMode.SAME_STEP and not self.has_autoreset_steps:
            check_partial_resets(env)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)

        self._actions: np.ndarray
        self._action_shape = (env.num_envs, *cast(tuple[int, ...], env.single_action_space.shape))
        # a vector environment may overwrite the observations that it returned
        returns_copies = isinstance(env, SyncVectorEnv | AsyncVectorEnv) and env.copy
        self._to_array = np.asarray if returns_copies else np.array
        self._has_own_monitors = sub_environments.have_monitors(env.unwrapped)
        self._was_reset = False
        self._statistics = EpisodeStatistics(self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self.autoreset_rows = np.zeros(self.num_envs, dtype=bool)
        """which rows of the last step were autoreset steps, bool ``(n_envs,)``"""
        self._masks_in_infos: np.ndarray | None = None

    # Resetting

    def reset(self) -> Observations:
        """Reset all environments, with the seeds and options that were set.

        :return: the first observations, ``(n_envs, *observation_shape)``, or a dict of such arrays
        :raises ValueError: if the options differ between environments or contain a reset mask, or if the environment
            returns anything but numpy arrays of its spaces' shapes and a dict of infos
        """
        self._check_options()
        self.n_moves += 1
        seeds: Any = self._seeds if self._is_built_in else self._seeds[0]
        observations, infos = self.env.reset(seed=seeds, options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._check_outputs(observations, infos)
        self._was_reset = True
        self._statistics.reset()
        self._ended[:] = False
        self.autoreset_rows = np.zeros(self.num_envs, dtype=bool)
        self.reset_infos = [self._info_of(infos, env) for env in range(self.num_envs)]
        self._store_masks(infos)
        return self._to_own(observations)

    def _check_options(self) -> None:
        if any(options != self._options[0] for options in self._options):
            raise ValueError(
                f"set_options: {self.env} resets all environments with the same options, got {self._options}"
            )
        if "reset_mask" in self._options[0]:
            raise ValueError("set_options: remove 'reset_mask', since reset() must reset all environments")

    def _check_outputs(self, observations: Any, infos: Any) -> None:
        if not isinstance(infos, dict):
            raise ValueError(
                f"{self.env} returns infos as {type(infos).__name__} instead of a dict: remove the wrapper "
                "DictInfoToList"
            )
        arrays = dict(named_arrays("observations", observations))
        for name, space in named_arrays("observations", _subspaces(self.observation_space)):
            array = arrays.get(name)
            shape = (self.num_envs, *space.shape)
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise ValueError(
                    f"{self.env} returns {name} as {type(array).__name__} of shape "
                    f"{tuple(getattr(array, 'shape', ()))}, expected a numpy array of shape {shape}: step all "
                    "environments at once, and convert to numpy in the outermost wrapper"
                )

    # Stepping

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions for the next :meth:`step_wait`.

        :param actions: ``(n_envs, *action_shape)``
        :raises RuntimeError: before the first :meth:`reset`; for an environment with autoreset steps if the caller
            does not drop them
        :raises ValueError: if the actions have another shape
        """
        if not self._was_reset:
            raise RuntimeError(f"Call reset() before the first step of {self.env}.")
        if self.has_autoreset_steps and not self.autoreset_steps_are_dropped:
            raise RuntimeError(
                f"{self.env} resets itself in the step after an episode's end. That autoreset step ignores the action "
                "and leads from one episode to the next, so an algorithm that treats it as a transition learns from "
                "wrong data. TDA2C drops these steps in training. To train another algorithm, or to evaluate, wrap "
                f"another environment in GymnasiumVecEnv: {USE_ANOTHER_MODE}."
            )
        if actions.shape != self._action_shape:
            raise ValueError(f"actions must have the shape {self._action_shape}, got {actions.shape}")
        # native environments check, or compute with, the dtype of their space
        self._actions = actions if self._is_built_in else actions.astype(self.action_space.dtype, copy=False)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments.

        :return: observations, rewards (float32), dones (bool) and infos, one of each for every environment
        :raises RuntimeError: if the environment behaves differently from its autoreset mode
        """
        self.n_moves += 1
        env_observations, env_rewards, terminated, truncated, env_infos = self.env.step(self._actions)
        observations = self._to_own(env_observations)
        rewards = np.array(env_rewards, dtype=np.float32)
        dones = np.logical_or(terminated, truncated)
        infos: list[Info] = [RUNNING_INFO] * self.num_envs
        self._store_masks(env_infos)
        self._statistics.add(env_rewards)
        if self.has_autoreset_steps:
            self._mark_autoreset_steps(dones, env_infos)
            # wrappers may have changed the reward 0
            rewards[self.autoreset_rows] = 0.0
        if np.count_nonzero(dones):
            is_truncation = np.logical_and(truncated, np.logical_not(terminated))
            for env, info in self._end_episodes(dones, is_truncation, observations, env_infos):
                infos[env] = info
        return observations, rewards, dones, infos

    def _to_own(self, observations: Any) -> Observations:
        """Return observations that the next step does not overwrite, in the dtype of their space like SB3's."""
        if isinstance(self.observation_space, spaces.Dict):
            items = self.observation_space.spaces.items()
            return {key: self._to_array(observations[key], dtype=space.dtype, order="C") for key, space in items}
        return self._to_array(observations, dtype=self.observation_space.dtype, order="C")

    def _mark_autoreset_steps(self, dones: np.ndarray, env_infos: Info) -> None:
        self.autoreset_rows, self._ended = self._ended, dones.copy()
        if np.count_nonzero(self.autoreset_rows):
            if np.count_nonzero(self.autoreset_rows & dones):
                raise RuntimeError(f"{self.env} ended an episode in an autoreset step. {self._wrong_mode()}")
            self._statistics.restart(self.autoreset_rows)
            self._store_reset_infos(np.flatnonzero(self.autoreset_rows), env_infos)

    def _end_episodes(
        self, dones: np.ndarray, is_truncation: np.ndarray, observations: Observations, env_infos: Info
    ) -> list[tuple[int, Info]]:
        """Put together the infos of ended episodes, and begin the next ones where the autoreset mode requires it.

        :param dones: which environments ended an episode, bool ``(n_envs,)``
        :param is_truncation: which of these were truncated and not terminated, bool ``(n_envs,)``
        :param observations: of this step; partial resets overwrite the rows of ended environments
        :param env_infos: of this step
        :return: pairs of an environment's index and its info
        """
        ended = np.flatnonzero(dones)
        if self._autoreset_mode == AutoresetMode.SAME_STEP:
            last_observations, last_infos = self._last_of_same_step(ended, env_infos)
        else:
            last_rows = select_rows(observations, ended)
            last_observations = [select_rows(last_rows, row) for row in range(len(ended))]
            last_infos = [self._info_of(env_infos, env) for env in ended.tolist()]
            if not self.has_autoreset_steps:
                self._reset_ended(dones, observations)
        statistics = self._statistics.finish(ended)
        return [
            (
                env,
                {
                    **last_infos[i],
                    # monitors know better when an episode ends: an Atari life is none
                    **({} if self._has_own_monitors else statistics[i]),
                    "TimeLimit.truncated": bool(is_truncation[env]),
                    "terminal_observation": last_observations[i],
                },
            )
            for i, env in enumerate(ended.tolist())
        ]

    def _last_of_same_step(self, ended: np.ndarray, env_infos: Info) -> tuple[list[Any], list[Info]]:
        """Return the last observations and infos of ended episodes, which ``SAME_STEP`` environments put into infos."""
        if "final_obs" not in env_infos:
            raise RuntimeError(f"{self.env} ended an episode without infos['final_obs']. {self._wrong_mode()}")
        first_infos = {key: value for key, value in env_infos.items() if key not in FINAL_KEYS}
        self._store_reset_infos(ended, first_infos)
        self._check_final_observations(ended, env_infos["final_obs"])
        final_info = env_infos.get("final_info", {})
        # copies, since these are objects of the environments, which may change them
        last_observations = [deepcopy(select_rows(env_infos["final_obs"], env)) for env in ended.tolist()]
        return last_observations, [self._info_of(final_info, env) for env in ended.tolist()]

    def _check_final_observations(self, ended: np.ndarray, final_observations: Any) -> None:
        """Check that single environments did not write their first observations over the last ones."""
        vector_env = self.env.unwrapped
        if not isinstance(vector_env, SyncVectorEnv):
            return
        for env in ended.tolist():
            lasts = named_arrays("", select_rows(final_observations, env))
            firsts = dict(named_arrays("", vector_env._env_obs[env])).values()
            if any(np.shares_memory(last, first) for _, last in lasts for first in firsts):
                raise ValueError(
                    f"environment {env} of {vector_env} wrote the first observation of an episode into the array of "
                    "the last one: return a copy from step(), or use autoreset_mode=AutoresetMode.NEXT_STEP"
                )

    def _reset_ended(self, dones: np.ndarray, observations: Observations) -> None:
        """Reset the ended environments, and write their first observations into ``observations``."""
        ended = np.flatnonzero(dones)
        first_observations, first_infos = reset_some(self.env, dones)
        if not self._is_built_in:
            self._check_unchanged(np.flatnonzero(~dones), observations, first_observations)
        for array, first in paired_arrays(observations, first_observations):
            array[ended] = first[ended]
        self._store_reset_infos(ended, first_infos)
        if self._masks_in_infos is not None and MASK_KEY in first_infos:
            self._masks_in_infos[ended] = first_infos[MASK_KEY][ended]

    def _check_unchanged(self, running: np.ndarray, before: Observations, after: Any) -> None:
        """Check that a partial reset did not change running environments."""
        if not all(np.array_equal(old[running], new[running]) for old, new in paired_arrays(before, after)):
            raise RuntimeError(
                f"{self.env} changed the observations of running environments in a reset with a 'reset_mask', which "
                f"contradicts its autoreset mode {self._autoreset_mode}. Fix the environment."
            )

    def _wrong_mode(self) -> str:
        return (
            f"So its autoreset mode is not {self._autoreset_mode} as its metadata say: correct "
            "metadata['autoreset_mode']."
        )

    # Infos and masks of actions

    def _info_of(self, infos: Info, env: int) -> Info:
        return info_of(infos, env, self.num_envs)

    def _store_reset_infos(self, envs: np.ndarray, first_infos: Info) -> None:
        for env in envs.tolist():
            self.reset_infos[env] = self._info_of(first_infos, env)

    def _store_masks(self, infos: Info) -> None:
        self._masks_in_infos = np.array(infos[MASK_KEY]) if MASK_KEY in infos else None

    def action_masks(self) -> np.ndarray | list[Any]:
        """Return which actions are allowed now.

        The masks come from a method ``action_masks()`` of the vector environment or a wrapper around it; else from that
        method of each single environment, as in sb3-contrib; else from ``infos["action_mask"]`` of the last step or
        reset, as in Gymnasium's Taxi.

        :return: ``(n_envs, n_choices)``, or a list of the rows
        :raises AttributeError: if the environment has none of these
        """
        layer, vector_env = self._layer_with_masks(), self.env.unwrapped
        if layer is not None:
            masks = np.array(layer.action_masks())
        elif isinstance(vector_env, SyncVectorEnv | AsyncVectorEnv) and self._sub_environments_have_masks:
            return list(vector_env.call(MASK_METHOD))
        elif self._masks_in_infos is not None:
            masks = self._masks_in_infos.copy()
        else:
            raise AttributeError(f"{self.env} has neither a method {MASK_METHOD}() nor infos[{MASK_KEY!r}]")
        # an autoreset step ignores the action
        if masks.dtype == object:
            # lists in infos
            return [np.ones_like(mask) if ended else mask for mask, ended in zip(masks, self._ended, strict=True)]
        if masks.shape[:1] == (self.num_envs,):
            masks[self._ended] = True
        return masks

    def _layer_with_masks(self) -> Any:
        """Return the outermost wrapper, or the vector environment, that has a method ``action_masks()``."""
        layer: VectorEnv[Any, Any, Any] = self.env
        while not hasattr(layer, MASK_METHOD):
            if not isinstance(layer, VectorWrapper):
                return None
            layer = layer.env
        return layer

    @cached_property
    def _sub_environments_have_masks(self) -> bool:
        return self._is_built_in and sub_environments.has_attr(self.env.unwrapped, MASK_METHOD)

    def _has_masks(self) -> bool:
        return (
            self._layer_with_masks() is not None
            or self._sub_environments_have_masks
            or self._masks_in_infos is not None
        )

    # The rest of VecEnv

    def has_attr(self, attr_name: str) -> bool:
        """Check whether all single environments have an attribute, without changing anything in them.

        For ``"action_masks"``: whether :meth:`action_masks` returns masks. Masks in infos are known from the first
        :meth:`reset` on.

        :param attr_name: the attribute
        """
        if attr_name == MASK_METHOD:
            return self._has_masks()
        return attr_name == "render_mode" or sub_environments.has_attr(self.env.unwrapped, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of single environments.

        :param attr_name: the attribute
        :param indices: the environments, all by default
        :raises AttributeError: if an environment does not have it, or there are no single environments
        """
        envs = list(self._get_indices(indices))
        if attr_name == "render_mode":
            return [self.env.render_mode for _ in envs]
        return sub_environments.get_attr(self.env.unwrapped, attr_name, envs)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of single environments, in the wrapper that has it if one does.

        :param attr_name: the attribute
        :param value: its new value
        :param indices: the environments, all by default
        :raises AttributeError: if there are no single environments
        :raises NotImplementedError: if it can only be set in all environments
        """
        sub_environments.set_attr(self.env.unwrapped, attr_name, value, list(self._get_indices(indices)))

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of single environments; ``"action_masks"`` returns rows of :meth:`action_masks`.

        :param method_name: the method
        :param method_args: its positional arguments
        :param indices: the environments, all by default
        :param method_kwargs: its keyword arguments
        :return: what each environment returned
        :raises AttributeError: if an environment does not have it, or there are no single environments
        :raises NotImplementedError: if it can only be called in all environments
        """
        envs = list(self._get_indices(indices))
        if method_name == MASK_METHOD:
            masks = self.action_masks()
            return [masks[env] for env in envs]
        return sub_environments.call_method(self.env.unwrapped, method_name, envs, method_args, method_kwargs)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Check which single environments are in a wrapper. ``Monitor`` always counts, since its statistics are there.

        :param wrapper_class: the wrapper
        :param indices: the environments, all by default
        :raises NotImplementedError: if they are in other processes
        """
        envs = list(self._get_indices(indices))
        if wrapper_class is Monitor:
            return [True for _ in envs]
        return sub_environments.are_wrapped(self.env.unwrapped, wrapper_class, envs)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return an image of each environment if ``render_mode="rgb_array"``."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"render_mode={self.render_mode!r} gives no images; use 'rgb_array'", stacklevel=2)
            return [None for _ in range(self.num_envs)]
        return list(cast(Sequence[np.ndarray], self.env.render()))

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()


def _check_space(name: str, space: spaces.Space[Any], supported: tuple[type[spaces.Space[Any]], ...]) -> None:
    subspaces = dict(named_arrays(name, _subspaces(space))).values()
    if not isinstance(space, supported) or not all(isinstance(subspace, BASIC_SPACES) for subspace in subspaces):
        names = ", ".join(kind.__name__ for kind in supported)
        raise ValueError(f"{name}={space} is not supported: use one of {names}, without nesting")


def _subspaces(space: spaces.Space[Any]) -> Any:
    """Return the spaces of a ``Dict`` by key, or the space itself, as :mod:`~sb3_a2c_td.rollout.observations` takes."""
    return space.spaces if isinstance(space, spaces.Dict) else space
