"""Reads the normalization of observations from a file of ``VecNormalize.save``."""

import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

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
from sb3_a2c_td.vec_env.normalization import OBSERVATION, Normalization, RunningNormalization


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
            return _normalization(attributes)
        except NotAllowedError as refused:
            raise UntrustedCheckpointError(
                f"it asks for {refused}, which files of VecNormalize do not need, and loading it could run code; if "
                "you made it yourself, load it with VecNormalize.load(), and pass the environment as normalization"
            ) from None
        except PICKLE_DAMAGE as error:
            raise UnreadableCheckpointError(
                f"it is damaged, or not a file of VecNormalize.save() ({type(error).__name__}: {error})"
            ) from error


def _normalization(attributes: dict[str, Any]) -> Normalization:
    rms = attributes["obs_rms"] if attributes["norm_obs"] else {}
    is_dict = isinstance(attributes["observation_space"], spaces.Dict)
    by_key = rms if is_dict or not attributes["norm_obs"] else {OBSERVATION: rms}
    statistics = {
        "obs_rms": {key: _statistics(one) for key, one in by_key.items()},
        "ret_rms": _statistics(attributes["ret_rms"]),
    }
    normalization = RunningNormalization.of_attributes({**attributes, **statistics})
    require(normalization.fault is None, str(normalization.fault))
    require(normalization.fits(attributes["observation_space"]), "statistics of another shape than the observations")
    return normalization.of_observations


def _statistics(attributes: dict[str, Any]) -> RunningMeanStd:
    statistics = RunningMeanStd()
    vars(statistics).update({name: attributes[name] for name in ("mean", "var", "count")})
    return statistics


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
