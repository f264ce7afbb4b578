"""Write the actor of a model to a file for other programs, once it was seen to act as the model does."""

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
from sb3_a2c_td.export.normalization import Normalization
from sb3_a2c_td.export.onnx import acting_onnx, to_onnx
from sb3_a2c_td.export.safetensors import acting_safetensors, to_safetensors
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.saving import atomic


class Format(NamedTuple):
    """A format of files."""

    write: Callable[[Actor], bytes]
    acting: Callable[[bytes], Callable[[Observations], np.ndarray]]


FORMATS = {"onnx": Format(to_onnx, acting_onnx), "safetensors": Format(to_safetensors, acting_safetensors)}


def export_actor(
    model: TDA2C,
    path: str | pathlib.Path,
    to: Literal["onnx", "safetensors"] = "onnx",
    normalization: VecNormalize | Normalization | None = None,
) -> None:
    """Write a model's deterministic actor to a file, which needs neither SB3 nor this package.

    It takes observations as the environment shows them, of the model's observation space in batches of any size, and
    gives what ``model.predict(observations, deterministic=True)`` gives. What the file computes is compared with the
    model on 500 observations from all over the space before anything is written.

    :param model: the model
    :param path: the file to write, which appears whole or not at all
    :param to: "onnx" holds the computation, for ONNX Runtime and its like; "safetensors" the named tensors, with what
        the networks are made of as metadata, for :func:`~sb3_a2c_td.export.load_actor` or a few lines of numpy
    :param normalization: the ``VecNormalize`` that the model was trained in, or its statistics, see
        :func:`~sb3_a2c_td.export.read_normalization`. The file then takes observations that are not normalised
    :raises ExportError: if the actor cannot be exported, or what was exported acts otherwise than the model
    :raises ImportError: if a package is missing
    :raises OSError: if the file cannot be written; what was there before is then untouched
    """
    if to not in FORMATS:
        raise ValueError(f"to={to!r} must be one of {', '.join(FORMATS)}")
    if isinstance(normalization, VecNormalize):
        normalization = Normalization.of(normalization)
    if not isinstance(model.policy, SeparateActorCriticPolicy):
        raise ExportError(
            f"policy={type(model.policy).__name__}: only actors of TDA2C are exported, which take an observation "
            "alone, no mask and no memory"
        )
    # GPUs round otherwise
    policy = model.policy if model.device.type == "cpu" else deepcopy(model.policy).cpu()
    content = FORMATS[to].write(actor_of(policy, normalization))
    check_actions(FORMATS[to].acting(content), policy, normalization)
    atomic.write(content, Path(path))
