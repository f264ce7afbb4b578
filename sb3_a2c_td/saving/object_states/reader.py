"""Reads an object's state as plain data."""

import random
from collections import deque
from enum import Enum, Flag
from pathlib import PurePath
from types import MethodType
from typing import Any

import numpy as np

from sb3_a2c_td.saving.object_states.format import (
    NOTHING,
    NUMBERS,
    SCALARS,
    TEXT,
    CannotRestoreError,
    State,
    attributes_of,
    class_name,
    is_left_alone,
    is_outside,
    qualified_name,
)

MAX_SIZE = 2**26
"""maximum size of a state in bytes; data sets from which environments draw do not belong in every saved model"""
OBJECT_SIZE = 100
"""bytes that each object other than an array counts, roughly"""


class Reader:
    """Reads an object and all objects that it holds, each once.

    :param excluded: an object to leave alone
    """

    def __init__(self, excluded: object = NOTHING) -> None:
        self._excluded = excluded
        self._size = 0
        self._owners: dict[int, object] = {}
        # keeps the objects too: the identity of a deleted one could be given to another
        self._numbers: dict[int, tuple[int, object]] = {}

    def read(self, thing: Any, where: str) -> State:
        """Return an object's state.

        :param thing: the object
        :param where: its path in errors
        :raises CannotRestoreError: if it, or an object that it holds, cannot be read
        """
        self._count(thing, where)
        if type(thing) in SCALARS or (isinstance(thing, np.generic) and thing.dtype.char in NUMBERS):
            return "plain", thing, -1
        if thing is self._excluded:
            return "left alone", None, -1
        if is_left_alone(thing):
            return "left alone", qualified_name(thing), -1
        if id(thing) in self._numbers:
            number, _ = self._numbers[id(thing)]
            return "same", None, number
        number = len(self._numbers)
        self._numbers[id(thing)] = number, thing
        kind, content = self._content(thing, where)
        return kind, content, number

    def _count(self, thing: Any, where: str) -> None:
        self._size += OBJECT_SIZE
        if isinstance(thing, np.ndarray):
            self._size += thing.nbytes
        elif isinstance(thing, str | bytes | bytearray):
            self._size += len(thing)
        if self._size > MAX_SIZE:
            raise CannotRestoreError(where, f"is where the state grows beyond {MAX_SIZE >> 20} MiB")

    def _content(self, thing: Any, where: str) -> tuple[str, Any]:
        match thing:
            case Enum() if not isinstance(thing, Flag):
                return "member", thing.name
            case MethodType():
                return "method", (thing.__func__.__qualname__, self.read(thing.__self__, f"{where}.__self__"))
            case PurePath():
                return "path", str(thing)
            case np.ndarray() if type(thing) is np.ndarray and thing.dtype.char in NUMBERS:
                return self._array(thing, where)
            case np.ndarray() | np.str_() | np.bytes_() if thing.dtype.kind in TEXT:
                return "text", (thing.dtype.str, thing.shape, thing.tobytes())
            case np.random.Generator():
                _check_not_spawned_from(thing, where)
                return "generator", thing.bit_generator.state
            case np.random.RandomState():
                return "random_state", thing.get_state(legacy=False)
            case random.Random() if type(thing) is random.Random:
                return "random", thing.getstate()
            case dict() if not _has_attributes(thing):
                return self._dict(thing, where)
            case list() | tuple() | deque() if not _has_attributes(thing):
                items = [self.read(item, f"{where}[{i}]") for i, item in enumerate(thing)]
                return "items", (class_name(thing), items, getattr(thing, "maxlen", None))
        attributes = attributes_of(thing, where)
        states = {key: self.read(value, f"{where}.{key}") for key, value in attributes.items()}
        return "object", (qualified_name(type(thing)), states)

    def _dict(self, thing: dict[Any, Any], where: str) -> tuple[str, Any]:
        _check_keys(thing, where)
        states = {key: self.read(value, f"{where}[{key!r}]") for key, value in thing.items()}
        return "dict", (class_name(thing), states)

    def _array(self, array: np.ndarray, where: str) -> tuple[str, Any]:
        base: Any = array.base
        if base is None:
            return "array", array.copy("K")
        if type(base) is not np.ndarray:
            self._check_only_user_of(base, where)
            return "array", array.copy("K")
        if not base.flags.forc or base.dtype != array.dtype or array.size > base.size:
            raise CannotRestoreError(where, "is a view of another dtype, with repeated numbers, or into one with gaps")
        offset = _address(array) - _address(base)
        return "view", (self.read(base, f"{where}.base"), offset, array.shape, array.strides)

    def _check_only_user_of(self, base: Any, where: str) -> None:
        """Check that only one array uses memory that no array owns: copies would not share it."""
        owner = base.obj if isinstance(base, memoryview) else base
        if is_outside(owner) or id(owner) in self._owners:
            raise CannotRestoreError(where, f"is a view into memory of {type(owner)}")
        self._owners[id(owner)] = owner


def _has_attributes(container: Any) -> bool:
    return hasattr(container, "__dict__") and len(vars(container)) > 0


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _check_keys(thing: dict[Any, Any], where: str) -> None:
    for key in thing:
        parts = key if type(key) is tuple else (key,)
        if not all(type(part) in SCALARS or isinstance(part, np.generic) for part in parts):
            raise CannotRestoreError(where, f"has the key {key!r}, which is not a number, string or tuple of these")


def _check_not_spawned_from(generator: np.random.Generator, where: str) -> None:
    if getattr(generator.bit_generator.seed_seq, "n_children_spawned", 0) > 0:
        raise CannotRestoreError(where, "has spawned other generators, and numpy cannot restore how many")
