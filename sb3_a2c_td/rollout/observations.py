"""Observations are an array, or a dict of arrays where the space is a Dict. These functions treat both alike."""

from collections.abc import Callable, Iterator
from operator import itemgetter
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


def copied(observations: Observations) -> Observations:
    """Return copies of arrays, with their layouts in memory.

    :param observations: an array, or a dict of arrays
    """
    # without map_arrays(), since this runs at every step
    if isinstance(observations, dict):
        return {key: array.copy("K") for key, array in observations.items()}
    return observations.copy("K")


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


def paired_arrays(first: Any, second: Any) -> Iterator[tuple[Any, Any]]:
    """Iterate over two arrays, or over the two arrays of each key.

    :param first: an array, or a dict of arrays
    :param second: likewise, with the keys of ``first``
    :return: pairs of arrays
    """
    if isinstance(first, dict):
        for key, array in first.items():
            yield array, second[key]
    else:
        yield first, second


def select_rows(observations: Any, index: Any) -> Any:
    """Index the first axis of each array.

    :param observations: ``(N, *observation_shape)``, or a dict of such arrays
    :param index: as numpy takes it: a number or a slice gives views, an array of indices gives copies
    """
    return map_arrays(itemgetter(index), observations)
