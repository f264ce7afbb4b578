"""``gymnasium.vector`` environments as an SB3 ``VecEnv``."""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any, NoReturn, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorObservationWrapper
from gymnasium.vector import VectorWrapper as GymnasiumWrapper
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.validation import BASIC_SPACES

Info = dict[str, Any]

WAYS_OUT = (
    'make the environments with gymnasium.make_vec(..., vectorization_mode="sync" or "async"), or with '
    "autoreset_mode=AutoresetMode.SAME_STEP where they offer it"
)
ROW_BY_ROW_WRAPPERS = (VecNormalize, VecCheckNan, VecTransposeImage, VecExtractDictObs, VecVideoRecorder)
"""SB3's wrappers that carry nothing of an observation from one step into the next"""
FINAL_KEYS = ("final_obs", "_final_obs", "final_info", "_final_info")
"""what SAME_STEP environments say of the episode that ended; the rest is of the next one"""
MASK_METHOD, MASK_KEY = "action_masks", "action_mask"
"""where sb3-contrib and Gymnasium look for masks of actions"""
MASKED_RESETS = (GymnasiumWrapper.reset, VectorObservationWrapper.reset)
"""the ``reset`` of Gymnasium's wrappers that hands on the mask and keeps no state of its own"""


class ReadOnlyInfo(dict[str, Any]):
    """The info that all running episodes share. What is written into it would show up in all of them."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "infos of running episodes share one dict, which is read-only: put another in its place, "
            'infos[i] = {**infos[i], "key": value}'
        )

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[Info]]:
        # a copy, a deep copy and what is unpickled are plain dicts
        return dict, (dict(self),)


RUNNING = ReadOnlyInfo({"TimeLimit.truncated": False})


class GymnasiumVecEnv(VecEnv):
    """Gives a ``gymnasium.vector.VectorEnv`` to SB3, with what SB3's ``DummyVecEnv`` of ``Monitor``-ed ones would give.

    That is: an ended environment shows its next episode's first observation at once, and its info has
    ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` (return, length and time, as ``Monitor`` gives) and
    its own last info. How that comes about depends on ``env.metadata["autoreset_mode"]``:

    - ``SAME_STEP``: the environment gives it so.
    - ``DISABLED``, and ``NEXT_STEP`` of ``SyncVectorEnv`` and ``AsyncVectorEnv``: ended environments, and only they,
      are reset within the step, by ``reset(options={"reset_mask": dones})``.
    - ``NEXT_STEP`` of any other: such an environment resets itself in the step *after* an end. This step is dead: its
      action is ignored, its reward is 0, and from the last observation of one episode it goes to the first of the
      next, which is no transition. :attr:`dead` marks it, and only those who leave it out may step such an
      environment, see :func:`dropping_autoreset_steps`.

    Other than with ``DummyVecEnv``, the infos of running episodes hold ``TimeLimit.truncated`` and nothing else, and
    all share one dict that cannot be written into; all environments are reset with the same options; and a vector
    environment with one generator for all takes the first of the seeds.

    :param env: the vector environment; wrappers of ``gymnasium.wrappers.vector`` may be around it
    :raises ValueError: for what is no vector environment, without a valid autoreset mode, with spaces other than
        Box, Discrete, MultiDiscrete, MultiBinary or a flat Dict of these (for observations), or whose wrappers do not
        go with partial resets
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise ValueError(f"env must be a gymnasium.vector.VectorEnv, got {env!r}")
        _check_space("single_observation_space", env.single_observation_space, (*BASIC_SPACES, spaces.Dict))
        _check_space("single_action_space", env.single_action_space, BASIC_SPACES)
        self.env = env
        self._autoreset_mode = _autoreset_mode(env)
        self._is_built_in = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self.has_autoreset_steps = self._autoreset_mode == AutoresetMode.NEXT_STEP and not self._is_built_in
        """whether the step after an episode's end is dead"""
        self.autoreset_steps_are_dropped = False
        """whether the one who steps leaves dead steps out, see :func:`dropping_autoreset_steps`"""
        if self._autoreset_mode != AutoresetMode.SAME_STEP and not self.has_autoreset_steps:
            _check_partial_resets(env)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)

        self._actions: np.ndarray
        self._action_shape = (env.num_envs, *cast(tuple[int, ...], env.single_action_space.shape))
        # a vector environment may write its next observations where the last ones are
        copies_itself = isinstance(env, SyncVectorEnv | AsyncVectorEnv) and env.copy
        self._array = np.asarray if copies_itself else np.array
        self._has_own_monitors = self._are_wrapped(Monitor)
        self._start_time = time.time()
        self._was_reset = False
        self._n_steps = 0
        self._first_steps = np.zeros(self.num_envs, dtype=np.int64)
        self._returns = np.zeros(self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self.autoreset_rows = np.zeros(self.num_envs, dtype=bool)
        """which rows of the last step were dead, bool ``(n_envs,)``"""
        self._masks_in_infos: np.ndarray | None = None

    # Stepping

    def reset(self) -> Observations:
        """Reset all environments, with the seeds and options that were set.

        :return: the first observations, ``(n_envs, *observation_shape)``, or a dict of such arrays
        :raises ValueError: if the options differ between environments or hold a mask, or the environment gives
            something else than numpy arrays of its spaces' shapes and a dict of infos
        """
        if any(options != self._options[0] for options in self._options):
            raise ValueError(
                f"set_options: {self.env} resets all environments with the same options, got {self._options}"
            )
        if "reset_mask" in self._options[0]:
            raise ValueError("set_options: 'reset_mask' would leave some environments out, reset() resets all: drop it")
        seeds: Any = self._seeds if self._is_built_in else self._seeds[0]
        observations, infos = self.env.reset(seed=seeds, options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._check_outputs(observations, infos)
        self._was_reset = True
        self._n_steps = 0
        for array in (self._first_steps, self._returns, self._ended):
            array[:] = 0
        self.autoreset_rows = np.zeros(self.num_envs, dtype=bool)
        self.reset_infos = [self._info_of(infos, env) for env in range(self.num_envs)]
        self._take_masks(infos)
        return self._own(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions for the next :meth:`step_wait`.

        :param actions: ``(n_envs, *action_shape)``
        :raises RuntimeError: before the first :meth:`reset`, and where dead steps would not be left out
        :raises ValueError: if the actions have another shape
        """
        if not self._was_reset:
            raise RuntimeError(f"call reset() first: where the episodes of {self.env} stand is not known")
        if self.has_autoreset_steps and not self.autoreset_steps_are_dropped:
            raise RuntimeError(
                f"{self.env} resets itself in the step after an episode's end: that step's action is ignored, and it "
                "leads from one episode into the next. Whoever takes it for a transition learns from, or counts, "
                f"wrong data, so it is refused: {WAYS_OUT}, or train TDA2C, which leaves dead steps out."
            )
        if actions.shape != self._action_shape:
            raise ValueError(f"actions must have the shape {self._action_shape}, got {actions.shape}")
        # vector environments check, or compute with, the dtype of their space
        self._actions = actions if self._is_built_in else actions.astype(self.action_space.dtype, copy=False)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments.

        :return: observations, rewards (float32), dones (bool) and infos, one of each for every environment
        :raises RuntimeError: if the environment does not do what its autoreset mode says
        """
        env_observations, env_rewards, terminated, truncated, env_infos = self.env.step(self._actions)
        observations = self._own(env_observations)
        dones = np.logical_or(terminated, truncated)
        rewards = np.array(env_rewards, dtype=np.float32)
        infos: list[Info] = [RUNNING] * self.num_envs
        self._take_masks(env_infos)
        self._n_steps += 1
        self._returns += env_rewards
        if self.has_autoreset_steps:
            self._mark_dead(dones, env_infos)
            # wrappers may have made something of the 0
            rewards[self.autoreset_rows] = 0.0
        if np.count_nonzero(dones):
            ended = np.flatnonzero(dones)
            last_observations, last_infos = self._last_of(ended, dones, observations, env_infos)
            episodes = self._finished_episodes(ended)
            cut_short = np.logical_and(truncated, np.logical_not(terminated))[ended].tolist()
            for i, env in enumerate(ended.tolist()):
                infos[env] = {
                    **last_infos[i],
                    **episodes[i],
                    "TimeLimit.truncated": cut_short[i],
                    "terminal_observation": last_observations[i],
                }
        return observations, rewards, dones, infos

    def _own(self, observations: Any) -> Observations:
        """Give observations that the next step does not overwrite, in the space's dtype as ``DummyVecEnv`` does."""
        if isinstance(self.observation_space, spaces.Dict):
            items = self.observation_space.spaces.items()
            return {key: self._array(observations[key], dtype=space.dtype, order="C") for key, space in items}
        return self._array(observations, dtype=self.observation_space.dtype, order="C")

    def _mark_dead(self, dones: np.ndarray, env_infos: Info) -> None:
        self.autoreset_rows, self._ended = self._ended, dones.copy()
        if np.count_nonzero(self.autoreset_rows):
            if np.count_nonzero(self.autoreset_rows & dones):
                raise RuntimeError(
                    f"{self.env} ended an episode in the step after another's end, so its autoreset mode is not "
                    f"{self._autoreset_mode}, which its metadata say: put metadata['autoreset_mode'] right"
                )
            self._returns[self.autoreset_rows] = 0.0
            self._first_steps[self.autoreset_rows] = self._n_steps
            for env in np.flatnonzero(self.autoreset_rows).tolist():
                self.reset_infos[env] = self._info_of(env_infos, env)

    def _last_of(
        self, ended: np.ndarray, dones: np.ndarray, observations: Observations, env_infos: Info
    ) -> tuple[list[Any], list[Info]]:
        """Give the last observation and the last info of episodes that ended; see that the next ones have begun.

        :param ended: the indices of their environments
        :param dones: the same as a mask, bool ``(n_envs,)``
        :param observations: what the step gave; ended rows are overwritten by first observations where these come
            from a partial reset
        :param env_infos: what the step gave
        """
        if self._autoreset_mode == AutoresetMode.SAME_STEP:
            if "final_obs" not in env_infos:
                raise RuntimeError(
                    f"{self.env} ended an episode without infos['final_obs'], so its autoreset mode is not "
                    f"{self._autoreset_mode}, which its metadata say: put metadata['autoreset_mode'] right"
                )
            final_info = env_infos.get("final_info", {})
            first_infos = {key: value for key, value in env_infos.items() if key not in FINAL_KEYS}
            self._keep_reset_infos(ended, first_infos)
            # objects of the environments, which may go on writing into them
            last = [deepcopy(_row(env_infos["final_obs"], env)) for env in ended.tolist()]
            return last, [self._info_of(final_info, env) for env in ended.tolist()]
        last_rows = _rows(observations, ended)
        last_infos = [self._info_of(env_infos, env) for env in ended.tolist()]
        if not self.has_autoreset_steps:
            first_observations, first_infos = self.env.reset(options={"reset_mask": dones.copy()})
            if not self._is_built_in:
                self._check_left_alone(np.flatnonzero(~dones), observations, first_observations)
            _overwrite(observations, ended, first_observations)
            self._keep_reset_infos(ended, first_infos)
        return [_row(last_rows, i) for i in range(len(ended))], last_infos

    def _check_left_alone(self, running: np.ndarray, before: Observations, after: Any) -> None:
        """Check that a partial reset left running environments alone."""
        pairs = [(before[key], after[key]) for key in before] if isinstance(before, dict) else [(before, after)]
        if not all(np.array_equal(first[running], second[running]) for first, second in pairs):
            raise RuntimeError(
                f"{self.env} resets, or shows otherwise, running environments too when asked for those of a "
                f"'reset_mask', which its autoreset mode {self._autoreset_mode} promises to leave alone"
            )

    def _keep_reset_infos(self, ended: np.ndarray, first_infos: Info) -> None:
        for env in ended.tolist():
            self.reset_infos[env] = self._info_of(first_infos, env)
        if self._masks_in_infos is not None and MASK_KEY in first_infos:
            self._masks_in_infos[ended] = first_infos[MASK_KEY][ended]

    def _take_masks(self, infos: Info) -> None:
        self._masks_in_infos = np.array(infos[MASK_KEY]) if MASK_KEY in infos else None

    def _info_of(self, infos: Info, env: int) -> Info:
        """Give one environment's part of a vector environment's infos, as ``VectorEnv._add_info`` put them together."""
        info = {}
        for key, values in infos.items():
            is_mask = isinstance(key, str) and key.startswith("_") and key[1:] in infos
            has_value = f"_{key}" not in infos or infos[f"_{key}"][env]
            if is_mask or not has_value:
                continue
            if isinstance(values, dict):
                info[key] = self._info_of(values, env)
            elif isinstance(values, np.ndarray) and values.shape[:1] == (self.num_envs,):
                info[key] = deepcopy(values[env])
        return info

    def _finished_episodes(self, ended: np.ndarray) -> list[Info]:
        """Give the statistics of episodes that ended, in ``Monitor``'s form, and count from zero again."""
        seconds = round(time.time() - self._start_time, 6)
        returns = self._returns[ended].tolist()
        lengths = (self._n_steps - self._first_steps[ended]).tolist()
        self._returns[ended] = 0.0
        self._first_steps[ended] = self._n_steps
        if self._has_own_monitors:
            # they are in the environment's own info, where an episode ends for the monitor too
            return [{}] * len(ended)
        return [
            {"episode": {"r": round(value, 6), "l": length, "t": seconds}}
            for value, length in zip(returns, lengths, strict=True)
        ]

    def _check_outputs(self, observations: Any, infos: Any) -> None:
        if not isinstance(infos, dict):
            raise ValueError(f"{self.env} gives {type(infos).__name__} as infos, not a dict: leave out DictInfoToList")
        space = self.observation_space
        subspaces = space.spaces if isinstance(space, spaces.Dict) else {None: space}
        for key, subspace in subspaces.items():
            array = observations if key is None else observations[key]
            shape = (self.num_envs, *cast(tuple[int, ...], subspace.shape))
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise ValueError(
                    f"{self.env} gives observations{'' if key is None else f'[{key!r}]'} as "
                    f"{type(array).__name__} of shape {tuple(getattr(array, 'shape', ()))}, not as a numpy array of "
                    f"shape {shape}: have all environments stepped at once, and convert to numpy last"
                )

    # Masks of actions

    def action_masks(self) -> np.ndarray | list[Any]:
        """Give which actions are allowed now, ``(n_envs, n_choices)``.

        They come from a method ``action_masks()`` of the vector environment; from that method of each of its
        environments, as sb3-contrib has it; or from ``infos["action_mask"]``, as Gymnasium's Taxi gives it.

        :raises AttributeError: if there is none of these
        """
        vector_env = self.env.unwrapped
        if hasattr(vector_env, MASK_METHOD):
            masks = np.array(vector_env.action_masks())  # type: ignore[attr-defined]
        elif self._environments_have_masks:
            if isinstance(vector_env, SyncVectorEnv):
                return [env.get_wrapper_attr(MASK_METHOD)() for env in vector_env.envs]
            return list(cast(AsyncVectorEnv, vector_env).call(MASK_METHOD))
        elif self._masks_in_infos is not None:
            masks = self._masks_in_infos.copy()
        else:
            raise AttributeError(f"{self.env} has no {MASK_METHOD}(), nor infos[{MASK_KEY!r}]")
        if masks.shape[:1] == (self.num_envs,):
            # the step after an episode's end is dead, whatever the action
            masks[self._ended] = True
        return masks

    @cached_property
    def _environments_have_masks(self) -> bool:
        vector_env = self.env.unwrapped
        if isinstance(vector_env, SyncVectorEnv):
            return vector_env.envs[0].has_wrapper_attr(MASK_METHOD)
        if isinstance(vector_env, AsyncVectorEnv):
            # its processes end when they are asked for what is not there
            env = vector_env.env_fns[0]()
            try:
                return env.has_wrapper_attr(MASK_METHOD)
            finally:
                env.close()
        return False

    def _has_masks(self) -> bool:
        if hasattr(self.env.unwrapped, MASK_METHOD) or self._environments_have_masks:
            return True
        if not self._was_reset:
            # only a reset shows what is in the infos; the next one is as if it had not been
            seeds, options = self._seeds, self._options
            self.reset()
            self._seeds, self._options = seeds, options
        return self._masks_in_infos is not None

    # What else a VecEnv can do

    def has_attr(self, attr_name: str) -> bool:
        """Say whether the single environments have an attribute; ``"action_masks"``, whether there are masks."""
        return self._has_masks() if attr_name == MASK_METHOD else super().has_attr(attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Read an attribute of the single environments.

        :raises AttributeError: if an environment does not have it, or there are no single environments to ask
        """
        wanted = list(self._get_indices(indices))
        if attr_name == "render_mode":
            return [self.env.render_mode for _ in wanted]
        vector_env = self.env.unwrapped
        if isinstance(vector_env, SyncVectorEnv):
            return [vector_env.envs[i].get_wrapper_attr(attr_name) for i in wanted]
        values = self._method_of_all("get_attr")(attr_name)
        return [values[i] for i in wanted]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the single environments, where it is if one of their wrappers has it.

        :raises AttributeError: if there are no single environments
        :raises NotImplementedError: if some are meant, and it can only be set in all
        """
        wanted = list(self._get_indices(indices))
        vector_env = self.env.unwrapped
        if isinstance(vector_env, SyncVectorEnv):
            for i in wanted:
                vector_env.envs[i].set_wrapper_attr(attr_name, value)
        else:
            set_in_all = self._method_of_all("set_attr")
            self._check_all("set_attr", wanted)
            set_in_all(attr_name, [value] * self.num_envs)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the single environments; ``"action_masks"`` gives rows of :meth:`action_masks`.

        :raises AttributeError: if an environment does not have it, or there are no single environments
        :raises NotImplementedError: if some are meant, and it can only be called in all
        """
        wanted = list(self._get_indices(indices))
        vector_env = self.env.unwrapped
        if method_name == MASK_METHOD:
            results: Any = self.action_masks()
        elif isinstance(vector_env, SyncVectorEnv):
            return [vector_env.envs[i].get_wrapper_attr(method_name)(*method_args, **method_kwargs) for i in wanted]
        else:
            call_all = self._method_of_all("call")
            self._check_all("env_method", wanted)
            results = call_all(method_name, *method_args, **method_kwargs)
        return [results[i] for i in wanted]

    def _method_of_all(self, name: str) -> Any:
        method = getattr(self.env.unwrapped, name, None)
        if method is None:
            raise AttributeError(
                f"{self.env} has no {name}(), as all its environments are computed at once: make them with "
                'gymnasium.make_vec(..., vectorization_mode="sync" or "async")'
            )
        return method

    def _check_all(self, name: str, wanted: list[int]) -> None:
        if sorted(wanted) != list(range(self.num_envs)):
            raise NotImplementedError(
                f"{name}: {self.env} reaches all environments or none, got indices={wanted}; "
                'vectorization_mode="sync" reaches them one by one'
            )

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Say whether the single environments are wrapped so; in a ``Monitor``, whose statistics are there, always.

        :raises NotImplementedError: where they cannot be looked at, as in other processes
        """
        wanted = list(self._get_indices(indices))
        vector_env = self.env.unwrapped
        if wrapper_class is Monitor:
            return [True for _ in wanted]
        if isinstance(vector_env, SyncVectorEnv):
            return [is_wrapped(vector_env.envs[i], wrapper_class) for i in wanted]
        if isinstance(vector_env, AsyncVectorEnv):
            raise NotImplementedError(f"env_is_wrapped: the environments of {self.env} are in other processes")
        return [False for _ in wanted]

    def _are_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]]) -> bool:
        vector_env = self.env.unwrapped
        return isinstance(vector_env, SyncVectorEnv) and all(is_wrapped(env, wrapper_class) for env in vector_env.envs)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Give an image of each environment, where ``render_mode="rgb_array"``."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"render_mode={self.render_mode!r} gives no images, 'rgb_array' does", stacklevel=2)
            return [None for _ in range(self.num_envs)]
        return list(cast(Sequence[np.ndarray], self.env.render()))

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()


@contextmanager
def dropping_autoreset_steps(env: VecEnv | None) -> Iterator[None]:
    """Promise to leave the rows out that :func:`transition_rows` does not list, as long as the context lasts.

    :param env: the environments that will be stepped; nothing happens if they have no dead steps
    :raises ValueError: if a wrapper around them would see, or join, what a dead step separates
    """
    adapter = adapter_below(env)
    if adapter is None or not adapter.has_autoreset_steps:
        yield
        return
    _check_wrappers(env, adapter)
    promised_before, adapter.autoreset_steps_are_dropped = adapter.autoreset_steps_are_dropped, True
    try:
        yield
    finally:
        adapter.autoreset_steps_are_dropped = promised_before


def transition_rows(env: VecEnv) -> np.ndarray | None:
    """Give the indices of the environments whose last step was a transition; ``None`` if all were.

    :param env: the environments, wrapped or not
    """
    adapter = adapter_below(env)
    if adapter is None or not np.count_nonzero(adapter.autoreset_rows):
        return None
    return np.flatnonzero(~adapter.autoreset_rows)


def check_distributable(env: VecEnv | None) -> None:
    """Check that environments can be a part of those that several processes train one model on.

    :param env: the environments of one process
    :raises ValueError: if steps are dead, so that intervals are not equally long everywhere, or ``VecNormalize`` would
        normalise by what this process saw
    """
    adapter = adapter_below(env)
    if adapter is not None and adapter.has_autoreset_steps:
        raise ValueError(f"{adapter.env} has dead steps, with which intervals are not fixed; {WAYS_OUT}.")
    if env is not None and unwrap_vec_normalize(env) is not None:
        raise ValueError(
            "VecNormalize has statistics of its own in each process: scale the observations within the environment "
            "(gymnasium.wrappers.TransformObservation), and the rewards by reward_scale"
        )


def _check_wrappers(env: VecEnv | None, adapter: GymnasiumVecEnv) -> None:
    while isinstance(env, VecEnvWrapper):
        if type(env) not in ROW_BY_ROW_WRAPPERS:
            names = ", ".join(wrapper.__name__ for wrapper in ROW_BY_ROW_WRAPPERS)
            raise ValueError(
                f"{type(env).__name__} may count, or join to others, the dead steps of {adapter.env}. Around it go "
                f"only {names} (episodes are counted without VecMonitor); or {WAYS_OUT}."
            )
        if isinstance(env, VecNormalize) and env.training and env.norm_reward:
            raise ValueError(
                f"VecNormalize would take the dead steps of {adapter.env} into its statistics of the rewards: use "
                "VecNormalize(norm_reward=False), and reward_scale, or gymnasium.wrappers.vector.NormalizeReward"
            )
        env = env.venv


def adapter_below(env: VecEnv | None) -> GymnasiumVecEnv | None:
    """Give the adapter below SB3's wrappers, if there is one."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env if isinstance(env, GymnasiumVecEnv) else None


def _check_space(name: str, space: spaces.Space[Any], supported: tuple[type[spaces.Space[Any]], ...]) -> None:
    subspaces = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    if not isinstance(space, supported) or not all(isinstance(subspace, BASIC_SPACES) for subspace in subspaces):
        names = ", ".join(kind.__name__ for kind in supported)
        raise ValueError(f"{name}={space} is not supported: use one of {names}, and nothing nested")


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise ValueError(
            f"env.metadata['autoreset_mode'] of {env} is {mode!r}, so that nobody knows which observation an episode's "
            "end shows. Say what the environment does: env.metadata = {**env.metadata, 'autoreset_mode': "
            f"mode}} with mode one of {', '.join(map(str, AutoresetMode))}"
        ) from error


def _check_partial_resets(env: VectorEnv[Any, Any, Any]) -> None:
    vector_env: VectorEnv[Any, Any, Any] = env
    while isinstance(vector_env, GymnasiumWrapper):
        if type(vector_env).reset not in MASKED_RESETS:
            raise ValueError(
                f"{type(vector_env).__name__} has a reset() of its own, which may not know of partial resets: leave it "
                "out (VecNormalize and the statistics here do what Gymnasium's NormalizeObservation, NormalizeReward "
                "and RecordEpisodeStatistics do), or use autoreset_mode=AutoresetMode.SAME_STEP"
            )
        vector_env = vector_env.env
    resets_later = env.metadata["autoreset_mode"] in (AutoresetMode.NEXT_STEP, AutoresetMode.NEXT_STEP.value)
    # its worker forgets that an environment ended only where the memory is shared (Gymnasium 1.4)
    if (
        resets_later
        and isinstance(vector_env, AsyncVectorEnv)
        and (not vector_env.shared_memory or vector_env.worker is not None)
    ):
        raise ValueError(
            "AsyncVectorEnv with shared_memory=False or a worker of its own resets an environment again after a "
            "partial reset: use autoreset_mode=AutoresetMode.SAME_STEP"
        )


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {key: rows[index] for key, rows in observations.items()}
    return observations[index]


def _rows(observations: Observations, indices: np.ndarray) -> Observations:
    """Copy rows out of observations."""
    if isinstance(observations, dict):
        return {key: rows[indices] for key, rows in observations.items()}
    return cast(np.ndarray, observations[indices])


def _overwrite(observations: Observations, indices: np.ndarray, others: Any) -> None:
    if isinstance(observations, dict):
        for key, rows in observations.items():
            rows[indices] = others[key][indices]
    else:
        observations[indices] = others[indices]
