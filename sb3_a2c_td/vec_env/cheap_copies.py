"""Cheaper copies for SB3's ``DummyVecEnv``.

``DummyVecEnv`` returns deep copies of its observations and infos at every step, so that callers may keep and change
them. ``copy.deepcopy`` takes longer than a step of CartPole, although arrays of numbers and flat dicts of immutable
values need no deep copy.
"""

from collections import OrderedDict
from copy import deepcopy
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

IMMUTABLE = frozenset({type(None), bool, int, float, str, np.bool_, np.int32, np.int64, np.float32, np.float64})
"""types of values that copies may share"""


class InfoList(list[dict[str, Any]]):
    """A list of infos with a cheap deep copy."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[dict[str, Any]]:
        return [dict(info) if _is_flat(info) else deepcopy(info, memo) for info in self]


class ArrayDict(OrderedDict[str, np.ndarray]):
    """Arrays of numbers by key with a cheap deep copy."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OrderedDict[str, np.ndarray]:
        return OrderedDict((key, array.copy()) for key, array in self.items())


def _is_flat(info: dict[str, Any]) -> bool:
    return type(info) is dict and IMMUTABLE.issuperset(map(type, info.values()))


def with_cheap_copies(env: VecEnv) -> VecEnv:
    """Make a ``DummyVecEnv`` copy what it returns in less time. It returns the same.

    :param env: environments, in wrappers or not; others than a ``DummyVecEnv`` stay as they are
    :return: the same object
    """
    dummy = env.unwrapped
    if isinstance(dummy, DummyVecEnv):
        dummy.buf_infos, dummy.buf_obs = InfoList(dummy.buf_infos), ArrayDict(dummy.buf_obs)
    return env
