"""Observations are an array, or a dict of arrays where the space is a Dict: what treats both alike."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch as th

Observations = np.ndarray | dict[str, np.ndarray]
ArrayT = TypeVar("ArrayT", np.ndarray, th.Tensor)


def map_arrays(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to arrays, or to the arrays of each key.

    :param function: takes one array of each of ``observations``
    :param observations: arrays (or tensors), or dicts of them that all have the keys of the first
    :return: what the function returns, or a dict of that by key
    """
    first = observations[0]
    if isinstance(first, dict):
        return {key: function(*(each[key] for each in observations)) for key in first}
    return function(*observations)


def named_arrays(name: str, observations: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the array, or the arrays of each key, with names for error messages.

    :param name: the name of the observations
    :param observations: an array, or a dict of arrays
    :return: pairs such as ``("observation", array)`` or ``("observation['image']", array)``
    """
    if isinstance(observations, dict):
        for key, array in observations.items():
            yield f"{name}[{key!r}]", array
    else:
        yield name, observations
