"""Reads the normalization of observations from a file of ``VecNormalize.save``."""

import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td.arguments import is_finite_number
from sb3_a2c_td.saving.errors import (
    NotAllowedError,
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    naming_file,
    require,
    require_regular,
)
from sb3_a2c_td.saving.unpickling import Budget, Instructions, Unpickler, check_content
from sb3_a2c_td.saving.unpickling.allowed_types import CALLS
from sb3_a2c_td.saving.unpickling.tokens import Name, Token, name_of
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE
from sb3_a2c_td.vec_env.normalization import Normalization, spaces_by_key


def read_normalization(path: str | pathlib.Path) -> Normalization:
    """Read a file from ``VecNormalize.save``, without running code from it.

    :param path: the file
    :raises UntrustedCheckpointError: if it asks for more than such files need; the message names it
    :raises UnreadableCheckpointError: if it is damaged, or not such a file
    :raises FileNotFoundError: if there is no such file
    """
    require_regular(path)
    content = Path(path).read_bytes()
    with naming_file(path):
        try:
            attributes = _Unpickler(content, Budget(len(content))).load()
            check_content(attributes, len(content))
            normalization = Normalization.of_attributes(attributes, _mean_and_var)
            _check(normalization, attributes["observation_space"])
            return normalization
        except NotAllowedError as refused:
            raise UntrustedCheckpointError(
                f"it asks for {refused}, which files of VecNormalize do not need, and loading it could run code; if "
                "you made it yourself, load it with VecNormalize.load(), and pass the environment as normalization"
            ) from None
        except PICKLE_DAMAGE as error:
            raise UnreadableCheckpointError(
                f"it is damaged, or not a file of VecNormalize.save() ({type(error).__name__}: {error})"
            ) from error


def _check(normalization: Normalization, space: spaces.Space[Any]) -> None:
    for name in ("epsilon", "clip_obs"):
        value = getattr(normalization, name)
        require(is_finite_number(value, low=0.0), f"{name}={value}")
    shapes = {key: subspace.shape for key, subspace in spaces_by_key(space).items()}
    for key, mean in normalization.mean.items():
        var = normalization.var[key]
        require(mean.shape == var.shape == shapes.get(key), "statistics of another shape than the observations")
        require(bool(np.isfinite(mean).all() and np.isfinite(var).all()), "statistics that are not finite")
        require(bool((var >= 0).all()), "a negative variance")


def _mean_and_var(rms: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return _array(rms["mean"]), _array(rms["var"])


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
