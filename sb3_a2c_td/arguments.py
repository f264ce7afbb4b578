"""Checks of arguments; each error names the argument and its value."""

import math
import operator
import sys
from typing import Any

import torch as th


def check_at_least_one(name: str, value: int) -> None:
    """Check an argument that must be an integer of at least 1.

    :param name: name of the argument, for the error
    :param value: its value
    :raises ValueError: if it is not an integer of at least 1
    """
    if not is_integer(value, low=1):
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def checked_steps(name: str, value: float) -> int:
    """Check a number of steps and convert it to an ``int``: ``1e5`` means 100,000.

    :param name: name of the argument, for the error
    :param value: its value
    :return: the number of steps
    :raises ValueError: if it is not an integer value of at least 0
    """
    if not is_finite_number(value, low=0) or value != int(value):
        raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")
    return int(value)


def checked_seed(seed: Any) -> int | None:
    """Check a seed, and convert numpy's integers to Python's.

    :param seed: an integer, or ``None``
    :return: an ``int``, or ``None``
    :raises ValueError: if it is not ``None`` or an integer that all random generators accept
    """
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number < 2**32:
        raise ValueError(f"seed must be None or an integer from 0 to 2**32 - 1, got {seed!r}")
    return number


def checked_window(size: Any) -> int | None:
    """Check a number of episodes to average over, and convert numpy's integers to Python's.

    :param size: an integer, or ``None`` for all episodes
    :return: an ``int``, or ``None``
    :raises ValueError: if it is not ``None`` or an integer from 0 to ``sys.maxsize``
    """
    if size is None:
        return None
    if isinstance(size, bool) or not is_integer(size, low=0) or size > sys.maxsize:
        raise ValueError(f"stats_window_size must be None or an integer from 0 to sys.maxsize, got {size!r}")
    return operator.index(size)


def check_number(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, low_is_valid: bool = True
) -> None:
    """Check an argument that must be a finite number within bounds.

    :param name: name of the argument, for the error
    :param value: its value
    :param low: lower bound
    :param high: upper bound, which is valid
    :param low_is_valid: whether the lower bound is valid
    :raises ValueError: if the value is not a finite number, or out of bounds
    """
    if not is_finite_number(value, low, high) or (value == low and not low_is_valid):
        left = "" if low == -math.inf else f" {'at least' if low_is_valid else 'above'} {low:g}"
        right = "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{name} must be a finite number{left}{right}, got {value!r}")


def is_integer(value: Any, low: int) -> bool:
    """Check whether a value is an integer of at least ``low``.

    :param value: the value, of any type
    :param low: lower bound
    """
    try:
        return operator.index(value) >= low
    except TypeError:
        return False


def is_finite_number(value: float, low: float = -math.inf, high: float = math.inf) -> bool:
    """Check whether a value is a finite number from ``low`` to ``high``, both included.

    :param value: the value, of any type
    :param low: lower bound
    :param high: upper bound
    """
    try:
        return math.isfinite(value) and low <= value <= high
    except (TypeError, OverflowError):
        # no number, or an integer beyond all floats
        return False


def check_class(name: str, value: Any, example: str) -> None:
    """Check an argument that must be a class, or a function that makes an object.

    :param name: name of the argument, for the error
    :param value: its value
    :param example: a valid value, for the error
    :raises ValueError: if it cannot be called
    """
    if not callable(value):
        raise ValueError(f"{name} must be a class such as {example}, got {value!r}")


def is_missing_gpu(device: th.device | str) -> bool:
    """Check whether a device is a GPU that PyTorch does not find, so that SB3 uses the CPU instead.

    :param device: the device, or ``"auto"``
    """
    return device != "auto" and th.device(device).type == "cuda" and not th.cuda.is_available()
