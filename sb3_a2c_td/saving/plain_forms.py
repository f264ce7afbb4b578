"""Converts values in infos of episodes, and paths, to plain data, which loads without trust.

Monitor's ``info_keywords`` put anything that an environment returns into the infos. What has a plain form (numpy's
texts, enums, paths) is saved in it; dates and decimals are read by
:mod:`~sb3_a2c_td.saving.unpickling.allowed_types`.
"""

from collections import deque
from datetime import datetime, timedelta, timezone
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import NoneType
from typing import Any, cast
from uuid import UUID

import numpy as np

from sb3_a2c_td.saving.object_states.format import NUMBERS

CONVERTED = ("tensorboard_log", "ep_info_buffer", "ep_success_buffer")
"""the attributes that are converted; a setting of the policy must stay equal to the user's"""

CONTAINERS: tuple[type[Any], ...] = (list, tuple, set, frozenset)
SCALARS: tuple[type[Any], ...] = (str, bytes, int, float, complex)


def plain_forms(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the plain forms of those attributes that are converted.

    :param attributes: a model's attributes
    """
    return {name: _plain_or_same(attributes[name]) for name in CONVERTED if name in attributes}


def _plain_or_same(thing: Any) -> Any:
    try:
        return plain_form(thing)
    # a model is saved whatever its environments' infos hold, such as a list that contains itself
    except Exception:
        return thing


def plain_form(thing: Any) -> Any:
    """Convert a value, and everything in it, to Python's own types and numpy's numbers.

    :param thing: the value
    :return: its plain form; the value itself if it has none
    """
    match thing:
        case Enum():
            return plain_form(thing.value)
        case PurePath() | UUID() | Fraction():
            return str(thing)
        case datetime() if type(thing.tzinfo) not in (NoneType, timezone):
            # other zones are read from files
            return thing.replace(tzinfo=timezone(cast(timedelta, thing.utcoffset())))
        case np.generic() | np.ndarray():
            return _plain_array(thing)
        case deque():
            return deque(map(plain_form, thing), thing.maxlen)
        case dict():
            return {plain_form(key): plain_form(value) for key, value in thing.items()}
        case bool():
            return thing
    for kind in CONTAINERS:
        if isinstance(thing, kind):
            return kind(map(plain_form, thing))
    return next((kind(thing) for kind in SCALARS if isinstance(thing, kind)), thing)


def _plain_array(array: np.generic | np.ndarray) -> Any:
    """Convert texts, dates and objects to Python's own, and long doubles, which depend on the machine, to doubles."""
    if array.dtype.char in NUMBERS:
        return array
    if array.dtype.kind in "fc":
        return array.astype("d" if array.dtype.kind == "f" else "D")
    return plain_form(array.tolist())
