"""Writes the actor of a model to a file for other programs, after comparing it with the model."""

import pathlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.export.actor import Actor, actor_of
from sb3_a2c_td.export.checking import check_actions
from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.onnx import acting_onnx, to_onnx
from sb3_a2c_td.export.safetensors import acting_safetensors, to_safetensors
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.saving import atomic
from sb3_a2c_td.vec_env.normalization import Normalization, RunningNormalization


class Format(NamedTuple):
    """A file format."""

    write: Callable[[Actor], bytes]
    """returns the content of the file"""
    acting: Callable[[bytes], Callable[[Observations], np.ndarray]]
    """returns the function from observations to actions that the content computes"""


FORMATS = {"onnx": Format(to_onnx, acting_onnx), "safetensors": Format(to_safetensors, acting_safetensors)}


def export_actor(
    model: TDA2C,
    path: str | pathlib.Path,
    to: Literal["onnx", "safetensors"] = "onnx",
    normalization: VecNormalize | Normalization | None = None,
) -> None:
    """Write a model's deterministic actor to a file, which needs neither SB3 nor this package.

    The file takes batches of observations as the environment returns them, and computes
    ``model.predict(observations, deterministic=True)``. Before anything is written, it is compared with the model on
    500 observations from the whole space.

    :param model: the model
    :param path: the file to write, atomically; it replaces a symbolic link
    :param to: "onnx" for ONNX Runtime and the like: the file holds the computation. "safetensors" for
        :func:`~sb3_a2c_td.export.load_actor`, or a few lines of numpy: it holds the named tensors, and the architecture
        as metadata
    :param normalization: a ``VecNormalize``, or its statistics (see :func:`~sb3_a2c_td.export.read_normalization`);
        ``None``: the model's own statistics, or those of the ``VecNormalize`` around its environments, if it has any.
        The file then takes observations that are not normalized
    :raises ExportError: if the actor cannot be exported, or if the exported one differs from the model
    :raises ImportError: if a package is missing
    :raises OSError: if the file cannot be written; an earlier file is unchanged then
    """
    if to not in FORMATS:
        raise ValueError(f"to={to!r} must be one of {', '.join(FORMATS)}")
    if not isinstance(model.policy, SeparateActorCriticPolicy):
        raise ExportError(
            f"policy={type(model.policy).__name__} cannot be exported: only actors of TDA2C can, which need neither "
            "action masks nor recurrent states"
        )
    normalization = _normalization(model, normalization)
    # GPUs round differently
    policy = model.policy if model.device.type == "cpu" else deepcopy(model.policy).cpu()
    content = FORMATS[to].write(actor_of(policy, normalization))
    check_actions(FORMATS[to].acting(content), policy, normalization)
    # untrusted models may come with links to other files in place of their exported actors
    atomic.write(content, Path(path))


def _normalization(model: TDA2C, given: VecNormalize | Normalization | None) -> Normalization | None:
    if isinstance(given, VecNormalize):
        return RunningNormalization.of(given).of_observations
    try:
        return model.observation_normalization if given is None else given
    except ValueError as error:
        raise ExportError(f"{error}; only with the statistics as normalization=... can it be exported") from error
