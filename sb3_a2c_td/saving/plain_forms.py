"""Converts values in infos of episodes, and paths, to plain data, which loads without trust.

Monitor's ``info_keywords`` put anything that an environment returns into the infos. What has a plain form (numpy's
texts, enums, paths) is saved in it; dates and decimals are read by
:mod:`~sb3_a2c_td.saving.unpickling.allowed_types`.
"""

from collections import deque
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from sb3_a2c_td.saving.object_states.format import NUMBERS

CONVERTED = ("tensorboard_log", "ep_info_buffer", "ep_success_buffer")
"""the attributes that are converted; a setting of the policy must stay equal to the user's"""

SCALARS = (str, bytes, int, float, complex)


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
        case PurePath() | UUID():
            return str(thing)
        case np.longdouble():
            return float(thing)
        case np.clongdouble():
            return complex(thing)
        case np.generic() | np.ndarray():
            return thing if thing.dtype.char in NUMBERS else plain_form(thing.tolist())
        case deque():
            return deque(map(plain_form, thing), thing.maxlen)
        case dict():
            return {plain_form(key): plain_form(value) for key, value in thing.items()}
    for container in (list, tuple, set, frozenset):
        if isinstance(thing, container):
            return container(map(plain_form, thing))
    # a boolean is an integer already
    return next((kind(thing) for kind in SCALARS if isinstance(thing, kind) and type(thing) is not bool), thing)
