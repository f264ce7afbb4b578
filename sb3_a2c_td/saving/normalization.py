"""Reads the statistics of ``VecNormalize`` from the training state of a saved model, as plain data."""

from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td.saving.errors import (
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    naming_file,
    printable,
    require,
)
from sb3_a2c_td.saving.object_states.format import SCALARS, State, qualified_name
from sb3_a2c_td.saving.paths import PathOrFile
from sb3_a2c_td.saving.unpickling import restricted_loads
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE
from sb3_a2c_td.saving.zip_entries import TRAINING_STATE, read_model
from sb3_a2c_td.saving.zips import read_zip
from sb3_a2c_td.vec_env.normalization import NEUTRAL_WRAPPERS, RunningNormalization

NEUTRAL_NAMES = frozenset(map(qualified_name, NEUTRAL_WRAPPERS))
MAX_NAME = 80
"""maximum length of a class's name in messages"""
SETTINGS = ("norm_obs", "norm_reward", "gamma", "clip_obs", "clip_reward", "epsilon", "training")
ATTRIBUTES = frozenset({*SETTINGS, "ret_rms"})
"""attributes that every ``VecNormalize`` has"""


class SavedNormalization(NamedTuple):
    """The ``VecNormalize`` around the environments that a model was saved with."""

    statistics: RunningNormalization
    norm_obs: bool
    norm_reward: bool
    obstacle: str | None
    """a wrapper that changes normalized observations, so that the statistics cannot move into the model"""


def records_environments(path: PathOrFile, trusted: bool = False) -> bool:
    """Check whether a saved model tells how its observations were normalized in training, or that they were not.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param trusted: whether the file is trusted, see :func:`~sb3_a2c_td.saving.zip_entries.read_model`
    :raises UnreadableCheckpointError: if it is damaged
    """
    with naming_file(path):
        return _layers(_training_state(path, trusted)) is not None


def saved_normalization_of(path: PathOrFile, trusted: bool = False) -> SavedNormalization | None:
    """Return what :func:`read_saved_normalization` finds in a saved model.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param trusted: whether the file is trusted, see :func:`~sb3_a2c_td.saving.zip_entries.read_model`
    :raises UnreadableCheckpointError: if it is damaged
    """
    with naming_file(path):
        return read_saved_normalization(_training_state(path, trusted))


def _training_state(path: PathOrFile, trusted: bool) -> bytes | None:
    return read_model(read_zip(path), trusted).get(TRAINING_STATE)


def read_saved_normalization(training_state: bytes | None) -> SavedNormalization | None:
    """Return the statistics of the outermost ``VecNormalize``, without running code from the file.

    :param training_state: the pickle of :func:`sb3_a2c_td.saving.training_state.dumps`; ``None`` if the file has none
    :return: the statistics, or ``None`` if there was no ``VecNormalize``, or the file does not tell
    :raises UntrustedCheckpointError: if the pickle asks for more than plain data
    :raises UnreadableCheckpointError: if they are damaged
    """
    try:
        return _saved_normalization(_layers(training_state) or [])
    except (UnreadableCheckpointError, UntrustedCheckpointError):
        # worded for users already
        raise
    except PICKLE_DAMAGE as error:
        raise UnreadableCheckpointError(
            f"its statistics of VecNormalize are damaged ({type(error).__name__}: {error})"
        ) from error


def _layers(training_state: bytes | None) -> list[tuple[bytes | None, str | None]] | None:
    """Return the pickled states of SB3's wrappers and of the environments in them, from the outside in."""
    if training_state is None:
        return None
    layers = restricted_loads(training_state)["env"]
    require(layers is None or isinstance(layers, list), "no states of environments")
    return layers  # type: ignore[no-any-return]


def _saved_normalization(layers: list[tuple[bytes | None, str | None]]) -> SavedNormalization | None:
    obstacle: str | None = None
    # the last layer is the environments themselves
    for content, reason in layers[:-1]:
        if content is None:
            obstacle = printable(str(reason).split(".")[0], MAX_NAME)
            continue
        _, (name, attributes), _ = restricted_loads(content)
        short_name = printable(name.rpartition(".")[2], MAX_NAME)
        if attributes.keys() >= ATTRIBUTES:
            return _of_attributes(attributes, obstacle if name == qualified_name(VecNormalize) else short_name)
        if name not in NEUTRAL_NAMES:
            obstacle = short_name
    return None


def _of_attributes(attributes: dict[str, State], obstacle: str | None) -> SavedNormalization:
    settings = {name: _number(attributes[name]) for name in SETTINGS}
    rms = _statistics(attributes["obs_rms"]) if settings["norm_obs"] else {}
    normalization = RunningNormalization.of_attributes(
        {**settings, "obs_rms": rms, "ret_rms": _statistics(attributes["ret_rms"])}
    )
    require(normalization.fault is None, str(normalization.fault))
    return SavedNormalization(normalization, bool(settings["norm_obs"]), bool(settings["norm_reward"]), obstacle)


def _statistics(state: State) -> Any:
    kind, (name, content), _ = state
    if kind == "dict":
        return {str(key): _statistics(one) for key, one in content.items()}
    require(kind == "object" and name == qualified_name(RunningMeanStd), "statistics of another kind")
    statistics = RunningMeanStd()
    statistics.mean, statistics.var = _array(content["mean"]), _array(content["var"])
    statistics.count = float(_number(content["count"]))
    return statistics


def _array(state: State) -> np.ndarray:
    kind, content, _ = state
    require(kind in ("array", "plain"), "statistics that are not arrays")
    return np.asarray(content)


def _number(state: State) -> Any:
    kind, content, _ = state
    require(kind == "plain" and (type(content) in SCALARS or isinstance(content, np.generic)), "no number")
    return content
