"""The metadata of exported files: spaces, preprocessing and versions, in JSON."""

import json
import math
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch as th
from gymnasium import spaces

from sb3_a2c_td.export.actor import Actor
from sb3_a2c_td.version import __version__


def metadata_of(actor: Actor) -> dict[str, str]:
    """Describe an actor's inputs and outputs, and the versions that exported it.

    :param actor: the actor
    :return: texts in JSON by name
    """
    normalization = actor.normalization
    versions = {
        "sb3-a2c-td": __version__,
        "stable-baselines3": stable_baselines3.__version__,
        "gymnasium": gym.__version__,
        "torch": th.__version__,
    }
    metadata = {
        "observation_space": describe_space(actor.observation_space),
        "action_space": describe_space(actor.action_space),
        "normalize_images": actor.architecture.normalize_images,
        "squash_output": actor.architecture.squash_output,
        "normalization": None
        if normalization is None
        else {"epsilon": normalization.epsilon, "clip_obs": _finite_or_none(normalization.clip_obs)},
        "versions": versions,
    }
    return {name: json.dumps(value, allow_nan=False) for name, value in metadata.items()}


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """Describe a space in plain data for JSON.

    :param space: the space
    :return: its type and arguments; bounds are ``None`` if infinite, and a single number if all are the same
    """
    kind = {"type": type(space).__name__}
    match space:
        case spaces.Box():
            shape, dtype = list(space.shape), str(space.dtype)
            return {**kind, "shape": shape, "dtype": dtype, "low": _bounds(space.low), "high": _bounds(space.high)}
        case spaces.Discrete():
            return {**kind, "n": int(space.n)}
        case spaces.MultiDiscrete():
            return {**kind, "nvec": space.nvec.tolist()}
        case spaces.MultiBinary():
            return {**kind, "n": space.n}
        case spaces.Dict():
            return {**kind, "spaces": {key: describe_space(one) for key, one in space.spaces.items()}}
    raise TypeError(f"{space} is not supported by SB3's policies")


def _bounds(bounds: np.ndarray) -> Any:
    """List bounds row by row, or return a single number if all are the same."""
    numbers = [_finite_or_none(number) for number in bounds.flatten().tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _finite_or_none(number: float) -> float | None:
    """Return ``None`` for infinity, which JSON does not have."""
    return number if math.isfinite(number) else None


def space_of(description: dict[str, Any]) -> spaces.Space[Any]:
    """Create a space from its description.

    :param description: the description from :func:`describe_space`
    """
    match description:
        case {"type": "Box", "shape": shape, "dtype": dtype, "low": low, "high": high}:
            bounds = (_array(low, -math.inf, shape, dtype), _array(high, math.inf, shape, dtype))
            return spaces.Box(*bounds, dtype=dtype)
        case {"type": "Discrete", "n": n}:
            return spaces.Discrete(n)
        case {"type": "MultiDiscrete", "nvec": nvec}:
            return spaces.MultiDiscrete(nvec)
        case {"type": "MultiBinary", "n": n}:
            return spaces.MultiBinary(n)
        case {"type": "Dict", "spaces": described}:
            # keeps the order, in which the features are concatenated
            return spaces.Dict(OrderedDict((key, space_of(one)) for key, one in described.items()))
    raise ValueError(f"no description of a space: {description}")


def n_bytes_of(description: dict[str, Any]) -> int:
    """Compute the size of a space's bounds in bytes, before it is created.

    :param description: the description from :func:`describe_space`
    """
    match description:
        case {"type": "Box", "shape": shape, "dtype": dtype}:
            return int(abs(math.prod(shape)) * np.dtype(dtype).itemsize)
        case {"type": "Dict", "spaces": described}:
            return sum(map(n_bytes_of, described.values()))
    return 0


def _array(bounds: Any, infinity: float, shape: list[int], dtype: str) -> np.ndarray:
    if not isinstance(bounds, list):
        return np.full(shape, infinity if bounds is None else bounds, dtype)
    return np.array([infinity if number is None else number for number in bounds], dtype).reshape(shape)
