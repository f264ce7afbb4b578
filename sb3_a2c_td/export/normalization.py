"""The normalization of observations by ``VecNormalize``, from an environment or from a saved file."""

import pathlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.saving.errors import (
    NotAllowedError,
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    naming_file,
    require,
)
from sb3_a2c_td.saving.unpickling import Instructions, Unpickler, check_content
from sb3_a2c_td.saving.unpickling.allowed_types import CALLS
from sb3_a2c_td.saving.unpickling.tokens import Name, Token, name_of
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE

OBSERVATION = "observation"
"""the name of observations that are not dicts"""


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

    @classmethod
    def of(cls, vec_normalize: VecNormalize) -> Self:
        """Copy the current statistics of an environment.

        :param vec_normalize: the environment
        """
        return cls._of(vars(vec_normalize), lambda rms: (rms.mean, rms.var))

    @classmethod
    def _of(cls, attributes: Mapping[str, Any], statistics: Callable[[Any], tuple[np.ndarray, np.ndarray]]) -> Self:
        if not attributes["norm_obs"]:
            return cls({}, {}, attributes["epsilon"], attributes["clip_obs"])
        rms = attributes["obs_rms"]
        is_dict = isinstance(attributes["observation_space"], spaces.Dict)
        pairs = {key: statistics(one) for key, one in (rms if is_dict else {OBSERVATION: rms}).items()}
        return cls(
            {key: mean for key, (mean, _) in pairs.items()},
            {key: var for key, (_, var) in pairs.items()},
            float(attributes["epsilon"]),
            float(attributes["clip_obs"]),
        )

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


def read_normalization(path: str | pathlib.Path) -> Normalization:
    """Read a file from ``VecNormalize.save``, without running code from it.

    :param path: the file
    :raises UntrustedCheckpointError: if it asks for more than such files need; the message names it
    :raises UnreadableCheckpointError: if it is damaged, or not such a file
    :raises FileNotFoundError: if there is no such file
    """
    content = Path(path).read_bytes()
    with naming_file(path):
        try:
            attributes = _Unpickler(content, len(content)).load()
            check_content(attributes, len(content))
            return Normalization._of(attributes, lambda rms: (_array(rms["mean"]), _array(rms["var"])))
        except NotAllowedError as refused:
            raise UntrustedCheckpointError(
                f"it asks for {refused}, which files of VecNormalize do not need, and loading it could run code; if "
                "you made it yourself, load it with VecNormalize.load(), and pass the environment as normalization"
            ) from None
        except PICKLE_DAMAGE as error:
            raise UnreadableCheckpointError(
                f"it is damaged, or not a file of VecNormalize.save() ({type(error).__name__}: {error})"
            ) from error


def _array(thing: Any) -> np.ndarray:
    require(isinstance(thing, np.ndarray) and thing.dtype == np.float64, "statistics that are not arrays")
    return np.asarray(thing)


def _attributes() -> dict[str, Any]:
    return {}


class _Unpickler(Unpickler):
    """Reads a ``VecNormalize`` and its statistics as dicts of their attributes."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = Instructions(Unpickler.dispatch)
    calls: ClassVar[dict[Name, Callable[..., Any]]] = {
        **CALLS,
        **{name_of(kind): _attributes for kind in (VecNormalize, RunningMeanStd)},
    }

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name."""
        return Token(module, name) if (module, name) in self.calls else super().find_class(module, name)

    def _build(self) -> None:
        if type(self.stack[-2]) is not dict:
            return super()._build()
        attributes = self.stack.pop()
        require(type(attributes) is dict, "attributes without names")
        self.stack[-1].update(attributes)

    dispatch[pickle.BUILD[0]] = _build
