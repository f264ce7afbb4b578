"""The normalization of ``VecNormalize`` apart from environments, and its statistics as a part of a model."""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)

from sb3_a2c_td.arguments import is_finite_number
from sb3_a2c_td.rollout.observations import Observations

OBSERVATION = "observation"
"""the name of observations that are not dicts"""
NEUTRAL_WRAPPERS = (VecMonitor, VecCheckNan, VecTransposeImage, VecVideoRecorder)
"""SB3's wrappers that leave normalized observations as they are"""


def spaces_by_key(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    """Return the spaces of dict observations by their keys, or the one space of others under "observation".

    :param space: the space of the observations
    """
    return dict(space.spaces) if isinstance(space, spaces.Dict) else {OBSERVATION: space}


@dataclass(frozen=True)
class Normalization:
    """Normalizes observations like ``VecNormalize``: ``clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs)``.

    :param mean: means by the keys of dict observations, or under the key "observation"; other keys are not normalized
    :param var: variances by the same keys
    :param epsilon: avoids division by zero
    :param clip_obs: maximum absolute value
    """

    mean: dict[str, np.ndarray]
    var: dict[str, np.ndarray]
    epsilon: float
    clip_obs: float

    def around(self, env: VecEnv) -> VecNormalize:
        """Wrap environments, so that they return normalized observations; rewards are not changed.

        :param env: the environments
        :return: the wrapper, which does not update the statistics
        :raises ValueError: if the observations have other keys or shapes
        """
        observed = spaces_by_key(env.observation_space)
        for key, mean in self.mean.items():
            if key not in observed or observed[key].shape != mean.shape:
                raise ValueError(
                    f"the statistics are of observations of shape {mean.shape} under {key!r}, but the environment's "
                    f"observation space is {env.observation_space}: use the statistics that were saved with the model"
                )
        normalize = VecNormalize(
            env,
            training=False,
            norm_obs=bool(self.mean),
            norm_reward=False,
            clip_obs=self.clip_obs,
            epsilon=self.epsilon,
            norm_obs_keys=list(self.mean) if isinstance(env.observation_space, spaces.Dict) else None,
        )
        for key, mean in self.mean.items():
            statistics = normalize.obs_rms[key] if isinstance(normalize.obs_rms, dict) else normalize.obs_rms
            statistics.mean, statistics.var = mean, self.var[key]
        return normalize

    def normalized(self, observations: Observations) -> Observations:
        """Normalize observations.

        :param observations: ``(n, *observation_shape)``, or a dict of such arrays
        """
        if isinstance(observations, dict):
            return {key: self._normalized(key, rows) for key, rows in observations.items()}
        return self._normalized(OBSERVATION, observations)

    def _normalized(self, key: str, rows: np.ndarray) -> np.ndarray:
        if key not in self.mean:
            return rows
        scaled = (rows - self.mean[key]) / np.sqrt(self.var[key] + self.epsilon)
        clipped: np.ndarray = np.clip(scaled, -self.clip_obs, self.clip_obs)
        return clipped.astype(np.float32)


@dataclass(eq=False)
class RunningNormalization:
    """The running statistics of a ``VecNormalize`` with its settings, as a model keeps them.

    :param obs_rms: statistics of observations by the keys of dict observations, or under the key "observation"
    :param ret_rms: statistics of the discounted returns, by which rewards are scaled
    :param gamma: discount factor of these returns
    :param clip_obs: maximum absolute value of a normalized observation
    :param clip_reward: maximum absolute value of a normalized reward
    :param epsilon: avoids division by zero
    :param training: whether training updates the statistics
    """

    obs_rms: dict[str, RunningMeanStd] = field(default_factory=dict)
    ret_rms: RunningMeanStd = field(default_factory=lambda: RunningMeanStd(shape=()))
    gamma: float = 0.99
    clip_obs: float = 10.0
    clip_reward: float = 10.0
    epsilon: float = 1e-8
    training: bool = True

    @classmethod
    def of(cls, vec_normalize: VecNormalize) -> Self:
        """Copy the statistics and settings of an environment.

        :param vec_normalize: the environment
        """
        return deepcopy(cls.of_attributes(vars(vec_normalize)))

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the statistics and settings of a ``VecNormalize`` with these attributes: the same objects, no copies.

        :param attributes: the attributes
        """
        rms = attributes["obs_rms"] if attributes["norm_obs"] else {}
        by_key = rms if isinstance(rms, dict) else {OBSERVATION: rms}
        numbers = {name: float(attributes[name]) for name in ("gamma", "clip_obs", "clip_reward", "epsilon")}
        return cls(by_key, attributes["ret_rms"], **numbers, training=bool(attributes["training"]))

    def take(self, other: "RunningNormalization") -> None:
        """Take over the statistics of another normalization of the same observations, in place.

        :param other: the other one
        """
        for key, rms in self.obs_rms.items():
            vars(rms).update(deepcopy(vars(other.obs_rms[key])))
        vars(self.ret_rms).update(deepcopy(vars(other.ret_rms)))

    @property
    def of_observations(self) -> Normalization:
        """The current normalization of observations."""
        mean = {key: rms.mean for key, rms in self.obs_rms.items()}
        var = {key: rms.var for key, rms in self.obs_rms.items()}
        return Normalization(mean, var, self.epsilon, self.clip_obs)

    @property
    def fault(self) -> str | None:
        """What is wrong with statistics or settings from a file: ``VecNormalize`` checks neither."""
        for rms in (*self.obs_rms.values(), self.ret_rms):
            if not are_valid_statistics(rms):
                return "statistics that are not finite, of two shapes, or with a negative variance"
        for name, high in (("epsilon", math.inf), ("gamma", 1.0), ("clip_obs", math.inf), ("clip_reward", math.inf)):
            value = getattr(self, name)
            # infinity clips nothing
            if not (is_finite_number(value, 0.0, high) or (name.startswith("clip") and value == math.inf)):
                return f"{name}={float(value)}"
        return None

    def fits(self, observation_space: spaces.Space[Any]) -> bool:
        """Check whether the statistics are of observations of this space.

        :param observation_space: the space
        """
        observed = spaces_by_key(observation_space)
        are_alike = (key in observed and observed[key].shape == rms.mean.shape for key, rms in self.obs_rms.items())
        return all(are_alike) and np.shape(self.ret_rms.mean) == ()


def are_valid_statistics(rms: RunningMeanStd) -> bool:
    """Check that running statistics are finite numbers of one shape, and that no variance is negative.

    :param rms: the statistics
    """
    mean, var = np.asarray(rms.mean), np.asarray(rms.var)
    are_floats = mean.dtype == var.dtype == np.float64 and mean.shape == var.shape
    is_count = is_finite_number(rms.count, low=0.0) and rms.count > 0
    return bool(are_floats and np.isfinite(mean).all() and (var >= 0).all() and (var < np.inf).all() and is_count)


def normalizable_keys(observation_space: spaces.Space[Any]) -> list[str]:
    """Return the keys of observations that can be normalized: boxes of numbers, which are not images.

    :param observation_space: the space
    """
    parts = spaces_by_key(observation_space).items()
    return [key for key, space in parts if isinstance(space, spaces.Box) and not is_image_space(space)]


NOT_SAVED = ("class_attributes", "_is_collecting")
"""attributes of :class:`ModelVecNormalize` that a copy does not take over"""


class ModelVecNormalize(VecNormalize):
    """The ``VecNormalize`` that a model puts around its environments itself. The statistics are those of the model.

    It normalizes only what the model itself collects, within :meth:`collecting`. Users who step ``model.env`` get
    observations and rewards as ``get_env()`` returns them, since ``predict`` normalizes, and change no statistics.

    :param venv: the environments
    :param normalization: the model's statistics, which are updated in place
    :param norm_obs: whether to normalize observations
    :param norm_reward: whether to normalize rewards
    """

    _is_collecting = False

    def __init__(self, venv: VecEnv, normalization: RunningNormalization, norm_obs: bool, norm_reward: bool) -> None:
        is_dict = isinstance(venv.observation_space, spaces.Dict)
        super().__init__(
            venv,
            training=normalization.training,
            norm_obs=norm_obs,
            norm_reward=norm_reward,
            clip_obs=normalization.clip_obs,
            clip_reward=normalization.clip_reward,
            gamma=normalization.gamma,
            epsilon=normalization.epsilon,
            norm_obs_keys=list(normalization.obs_rms) if is_dict else None,
        )
        self.ret_rms = normalization.ret_rms
        if norm_obs:
            obs_rms = normalization.obs_rms
            self.obs_rms = obs_rms if is_dict else obs_rms[OBSERVATION]  # type: ignore[assignment]

    @contextmanager
    def collecting(self, normalizes: bool = True) -> Iterator[None]:
        """Normalize, and update the statistics, while the context lasts.

        :param normalizes: ``False``: not while this context lasts, which is within another one
        """
        outer, self._is_collecting = self._is_collecting, normalizes
        try:
            yield
        finally:
            self._is_collecting = outer

    def reset(self) -> Any:
        """Reset the environments."""
        if self._is_collecting:
            return super().reset()
        self.old_obs = cast(Observations, self.venv.reset())
        return self.old_obs

    def step_wait(self) -> Any:
        """Return what a step of the environments returns."""
        if self._is_collecting:
            return super().step_wait()
        observations, self.old_reward, dones, infos = self.venv.step_wait()
        self.old_obs = cast(Observations, observations)
        return observations, self.old_reward, dones, infos

    # VecNormalize leaves its environments out, but a copy of a model needs them

    def __getstate__(self) -> dict[str, Any]:
        # the first have no copy, and follow from the class
        return {name: value for name, value in vars(self).items() if name not in NOT_SAVED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, class_attributes=dict(inspect.getmembers(type(self))))


def find_vec_normalize(env: Any) -> tuple[VecNormalize | None, str | None]:
    """Return the outermost ``VecNormalize`` of environments, and what keeps its statistics from moving into a model.

    :param env: the environments; the wrapper of a model that normalizes itself does not count
    :return: the wrapper, or ``None``; and the name of a wrapper that changes normalized observations, or ``None``
    """
    obstacle = None
    if isinstance(env, ModelVecNormalize):
        env = env.venv
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            return env, obstacle if type(env) is VecNormalize else type(env).__name__
        if not isinstance(env, NEUTRAL_WRAPPERS):
            obstacle = type(env).__name__
        env = env.venv
    return None, None


def take_over(vec_normalize: VecNormalize, normalization: RunningNormalization) -> None:
    """Copy statistics into a ``VecNormalize`` that has none yet. Any other stays as it is.

    :param vec_normalize: the wrapper
    :param normalization: the statistics
    :raises ValueError: if it normalizes other observations
    """
    no_steps = RunningMeanStd().count
    current = RunningNormalization.of_attributes(vars(vec_normalize))
    if all(rms.count == no_steps for rms in (*current.obs_rms.values(), current.ret_rms)):
        fill(vec_normalize, normalization)


def fill(vec_normalize: VecNormalize, normalization: RunningNormalization) -> None:
    """Replace the statistics of a ``VecNormalize`` by copies of other ones.

    :param vec_normalize: the wrapper
    :param normalization: the statistics
    :raises ValueError: if it normalizes other observations
    """
    check_same_observations(vec_normalize, normalization)
    RunningNormalization.of_attributes(vars(vec_normalize)).take(normalization)


def check_same_observations(vec_normalize: VecNormalize, normalization: RunningNormalization) -> None:
    """Check that a ``VecNormalize`` normalizes the observations that other statistics are of, and single rewards.

    :param vec_normalize: the wrapper
    :param normalization: the statistics
    :raises ValueError: if it does not
    """
    current = RunningNormalization.of_attributes(vars(vec_normalize))
    found, expected = (
        {key: np.shape(rms.mean) for key, rms in one.obs_rms.items()} for one in (current, normalization)
    )
    if found != expected or np.shape(normalization.ret_rms.mean) != ():
        raise ValueError(
            f"env: its VecNormalize normalizes observations of the shapes {found}, and the model was trained on "
            f"normalized observations of the shapes {expected}: wrap env as it was"
        )
