"""Actors as named tensors in a safetensors file, with their architecture as metadata."""

import json
import math
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from sb3_a2c_td import extras
from sb3_a2c_td.export.actor import Actor, Architecture, inputs_of
from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.metadata import metadata_of, n_bytes_of, space_of
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, naming_file
from sb3_a2c_td.saving.unpickling.allowed_types import VALUES
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE
from sb3_a2c_td.vec_env.normalization import Normalization

MAX_SPACE_GROWTH = 16
"""maximum size of the spaces, in multiples of the file's: each of their numbers is an input or output of a network"""


def to_safetensors(actor: Actor) -> bytes:
    """Convert an actor to safetensors, with metadata from which :func:`load_actor` rebuilds it.

    :param actor: the actor
    :return: the content of the file
    :raises ExportError: if its networks are of classes other than PyTorch's or SB3's
    """
    with extras.needed("export", "exporting"):
        import safetensors.torch
    architecture = actor.architecture
    networks = {
        "features_extractor_class": _name_of(architecture.features_extractor_class),
        "features_extractor_kwargs": _as_json(architecture.features_extractor_kwargs),
        "net_arch": architecture.net_arch,
        "activation_fn": _name_of(architecture.activation_fn),
    }
    metadata = {**metadata_of(actor), **{name: json.dumps(value) for name, value in networks.items()}}
    tensors = {name: tensor.contiguous() for name, tensor in actor.state_dict().items()}
    return safetensors.torch.save(tensors, metadata)


def _name_of(kind: type) -> str:
    name = getattr(kind, "__module__", ""), getattr(kind, "__qualname__", "")
    if name not in VALUES:
        raise ExportError(
            f"{kind} is not a class of PyTorch or SB3, so a reader of the file could not rebuild it: export to onnx, "
            "which holds the computation itself"
        )
    return ".".join(name)


def _as_json(kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(kwargs, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"features_extractor_kwargs={kwargs} cannot be written in JSON ({error}): export to onnx, which holds the "
            "computation itself"
        ) from error


def load_actor(path: str | pathlib.Path) -> Actor:
    """Rebuild an actor from a safetensors file, which cannot hold code.

    :param path: the file from :func:`~sb3_a2c_td.export.export_actor`
    :return: the actor, a PyTorch module on the CPU
    :raises UnreadableCheckpointError: if it is damaged, or holds no actor
    """
    with naming_file(path):
        try:
            return _actor(Path(path).read_bytes())
        except PICKLE_DAMAGE as error:
            raise UnreadableCheckpointError(
                f"it is damaged, or holds no actor ({type(error).__name__}: {error})"
            ) from error


def _actor(content: bytes) -> Actor:
    with extras.needed("export", "exporting"):
        import safetensors.torch
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    metadata = {name: json.loads(text) for name, text in _metadata(content).items()}
    observation_space, action_space = _spaces(metadata, len(content))
    architecture = Architecture(
        _class_of(metadata["features_extractor_class"]),
        metadata["features_extractor_kwargs"],
        metadata["net_arch"],
        _class_of(metadata["activation_fn"]),
        metadata["normalize_images"],
        metadata["squash_output"],
    )
    networks = _networks(architecture, observation_space, action_space)
    actor = Actor(observation_space, action_space, architecture, *networks, _normalization(metadata, tensors))
    actor.load_state_dict(tensors, assign=True)
    return actor.eval()


def _spaces(metadata: dict[str, Any], n_bytes: int) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Create the spaces, once their size is known to be small.

    :param n_bytes: the size of the file
    """
    observation_space, action_space = metadata["observation_space"], metadata["action_space"]
    if n_bytes_of(observation_space) + n_bytes_of(action_space) > MAX_SPACE_GROWTH * n_bytes:
        raise ValueError("its spaces are larger than its networks")
    return space_of(observation_space), space_of(action_space)


def _metadata(content: bytes) -> dict[str, str]:
    """Read the metadata from the header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])


def _class_of(name: str) -> Any:
    module, _, qualname = name.rpartition(".")
    return VALUES[module, qualname]


def _networks(
    architecture: Architecture, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Create networks without numbers, so that no random ones are drawn."""
    with th.device("meta"):
        features_extractor = architecture.features_extractor_class(
            observation_space, **architecture.features_extractor_kwargs
        )
        hidden = MlpExtractor(
            features_extractor.features_dim, architecture.net_arch, architecture.activation_fn, device="meta"
        )
        action_net = nn.Linear(hidden.latent_dim_pi, _n_outputs(action_space))
    return features_extractor, hidden.policy_net, action_net


def _n_outputs(action_space: spaces.Space[Any]) -> int:
    match action_space:
        case spaces.Discrete():
            return int(action_space.n)
        case spaces.MultiDiscrete():
            return int(action_space.nvec.sum())
    return int(np.prod(action_space.shape))  # type: ignore[arg-type]


def _normalization(metadata: dict[str, Any], tensors: dict[str, th.Tensor]) -> Normalization | None:
    if metadata["normalization"] is None:
        return None
    mean, var = (
        {name.removeprefix(prefix): tensor.numpy() for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("mean.", "var.")
    )
    clip_obs = metadata["normalization"]["clip_obs"]
    return Normalization(mean, var, metadata["normalization"]["epsilon"], math.inf if clip_obs is None else clip_obs)


def acting_safetensors(content: bytes) -> Callable[[Observations], np.ndarray]:
    """Return the function that the actor in a file computes.

    :param content: the content of the file
    """
    actor = _actor(content)

    def act(observations: Observations) -> np.ndarray:
        with th.no_grad():
            return np.asarray(actor(*map(th.as_tensor, inputs_of(observations))).numpy())

    return act
