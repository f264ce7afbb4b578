"""Cheaper copies for SB3's ``DummyVecEnv``.

``DummyVecEnv`` returns deep copies of its observations and infos at every step, so that callers may keep and change
them. ``copy.deepcopy`` takes longer than a step of CartPole, although arrays of numbers and flat dicts of immutable
values need no deep copy.
"""

from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

IMMUTABLE = frozenset({type(None), bool, int, float, str, np.bool_, np.int32, np.int64, np.float32, np.float64})
"""types of values that copies may share"""


class InfoList(list[dict[str, Any]]):
    """A list of infos with a cheap deep copy, in which terminal observations are copies.

    ``DummyVecEnv`` stores the array that the environment returned, and resets the environment before it copies the
    info. An environment that reuses one array overwrites it then.
    """

    def __getitem__(self, env: int) -> dict[str, Any]:  # type: ignore[override]
        info = list.__getitem__(self, env)
        # DummyVecEnv stores this key first, so that episodes that continue need no other dict
        if "TimeLimit.truncated" in info:
            self[env] = info = EndInfo(info)
        return info

    def __deepcopy__(self, memo: dict[int, Any]) -> list[dict[str, Any]]:
        # a single value is that of "TimeLimit.truncated"
        return [
            dict(info) if type(info) is dict and len(info) == 1 else self._copy(env, info, memo)
            for env, info in enumerate(self)
        ]

    def _copy(self, env: int, info: dict[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
        if _is_flat(info):
            return dict(info)
        # between steps, all infos are plain dicts, which can be saved
        self[env] = plain = dict(info)
        return deepcopy(plain, memo)


class EndInfo(dict[str, Any]):
    """An info that stores a copy of the terminal observation."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, deepcopy(value) if key == "terminal_observation" else value)


class ArrayDict(OrderedDict[str, np.ndarray]):
    """Arrays of numbers by key with a cheap deep copy."""

    # an attribute in a slot is not part of what is saved
    __slots__ = ("n_copies",)

    # without arrays: unpickling adds them later
    def __init__(self, arrays: Mapping[str, np.ndarray] = MappingProxyType({})) -> None:
        super().__init__(arrays)
        self.n_copies = 0
        """how many times ``DummyVecEnv`` has returned observations, at each step and reset"""

    def __deepcopy__(self, memo: dict[int, Any]) -> OrderedDict[str, np.ndarray]:
        # where a whole environment is copied, the memo has other objects
        if not memo:
            self.n_copies += 1
        return OrderedDict((key, array.copy()) for key, array in self.items())


def _is_flat(info: dict[str, Any]) -> bool:
    return type(info) is dict and IMMUTABLE.issuperset(map(type, info.values()))


def with_cheap_copies(env: VecEnv) -> VecEnv:
    """Make a ``DummyVecEnv`` copy what it returns in less time. It returns the same.

    :param env: environments, in wrappers or not; others than a ``DummyVecEnv`` stay as they are
    :return: the same object
    """
    dummy = env.unwrapped
    if isinstance(dummy, DummyVecEnv) and not isinstance(dummy.buf_obs, ArrayDict):
        dummy.buf_infos, dummy.buf_obs = InfoList(dummy.buf_infos), ArrayDict(dummy.buf_obs)
    return env
