"""SB3's ``DummyVecEnv``, with copies that cost less.

At every step it gives deep copies of its observations and infos, so that nobody's later writing shows up in what
somebody keeps. ``copy.deepcopy`` takes longer over them than a CartPole over its step, though arrays of numbers, and
dicts of numbers and strings, have nothing deep to copy.
"""

from collections import OrderedDict
from copy import deepcopy
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

IMMUTABLE = frozenset({type(None), bool, int, float, str, np.bool_, np.int32, np.int64, np.float32, np.float64})
"""types of values that a copy may share"""


class Infos(list[dict[str, Any]]):
    """A list of infos, whose deep copy is the usual one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[dict[str, Any]]:
        return [dict(info) if _is_flat(info) else deepcopy(info, memo) for info in self]


class Arrays(OrderedDict[str, np.ndarray]):
    """Arrays of numbers by their keys, whose deep copy is the usual one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OrderedDict[str, np.ndarray]:
        return OrderedDict((key, array.copy()) for key, array in self.items())


def _is_flat(info: dict[str, Any]) -> bool:
    return type(info) is dict and IMMUTABLE.issuperset(map(type, info.values()))


def with_cheap_copies(env: VecEnv) -> VecEnv:
    """Let a ``DummyVecEnv`` copy what it gives in less time; what it gives stays the same.

    :param env: environments, in wrappers or not; nothing happens if no ``DummyVecEnv`` is below
    :return: the same object
    """
    dummy = env
    while isinstance(dummy, VecEnvWrapper):
        dummy = dummy.venv
    if isinstance(dummy, DummyVecEnv):
        dummy.buf_infos, dummy.buf_obs = Infos(dummy.buf_infos), Arrays(dummy.buf_obs)
    return env
