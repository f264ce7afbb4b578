"""States of environments as plain data, and environments put back into them.

Gymnasium has no interface for it, so this reads what most environments are: Python objects whose attributes hold
numbers, arrays, generators of random numbers, and more such objects. What lies outside of Python (a physics engine, a
worker process, a window) cannot be read, and is refused rather than left out.
"""

import copyreg
import csv
import io
import random
import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sb3_a2c_td.checkpoints.generators import checked

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
NUMBERS = "?bBhHiIlLqQefdFD"
"""numpy's types of numbers that are the same on every machine"""
TEXT = "SU"
LEFT_ALONE = (
    # what an environment is, not where it stands: one made anew has the same
    *(type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, partial, EnvSpec, PurePath, np.dtype),
    # what it writes to
    *(io.IOBase, ResultsWriter, csv.DictWriter),
)
OUTSIDE = frozenset({"asyncio", "concurrent", "ctypes", "multiprocessing", "socket", "subprocess", "threading"})
"""modules whose objects stand for something outside of Python, whatever attributes they have"""
BUILDERS: dict[str, Callable[..., Any]] = {
    builder.__name__: builder for builder in (list, deque, tuple, set, frozenset, dict, OrderedDict)
}
"""containers that can be made anew"""
BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
}

POINTER = struct.calcsize("P")

MAX_SIZE = 2**26
"""bytes that a state may take; a data set that an environment draws from does not belong into every saved model"""
OBJECT_SIZE = 100
"""bytes that whatever is no array takes, about"""

State = tuple[str, Any, int]
"""the kind of a thing, its content, and its number, by which others that hold it too refer to it"""

_NOTHING = object()


class CannotRestoreError(ValueError):
    """An environment's state cannot be read, or not be put back.

    :param where: the attribute, from the environments on
    :param reason: why
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} {reason}")


class LayerState(NamedTuple):
    """The state of environments, or of one of SB3's wrappers around them."""

    state: State | None
    """plain data; ``None``: it cannot be read"""
    reason: str | None
    """why it cannot"""


def states_of(env: VecEnv) -> list[LayerState]:
    """Read the state of environments and of SB3's wrappers around them (the statistics of ``VecNormalize``, say).

    :param env: the environments
    :return: the wrappers' states, from the outside in, and then that of the environments
    """
    return [_state_of(layer) for layer in _layers(env)]


def restore(env: VecEnv, states: list[LayerState]) -> str | None:
    """Put environments and SB3's wrappers around them into the states that :func:`states_of` read.

    :param env: environments made like those, and reset
    :param states: their states
    :return: ``None``, or why the environments below the wrappers were not restored: they must then be reset
    :raises ValueError: if there are other wrappers now, or the state of one could not be read
    """
    *wrappers, base = _layers(env)
    if len(wrappers) != len(states) - 1:
        raise ValueError(
            f"env has {len(wrappers)} of SB3's wrappers, and had {len(states) - 1} where the model was saved: "
            "wrap it as it was"
        )
    for layer, saved in zip(wrappers, states, strict=False):
        _write(layer, saved)
    try:
        _write(base, states[-1])
    except CannotRestoreError as error:
        return str(error)
    return None


def _state_of(layer: VecEnv) -> LayerState:
    beyond = layer.venv if isinstance(layer, VecEnvWrapper) else _NOTHING
    try:
        return LayerState(_Reader(beyond).read(layer, _name(layer)), None)
    except CannotRestoreError as error:
        return LayerState(None, str(error))


def _write(layer: VecEnv, saved: LayerState) -> None:
    if saved.state is None:
        raise CannotRestoreError(_name(layer), f"was not saved whole: {saved.reason}")
    _Writer().written(saved.state, layer, _name(layer))


def _layers(env: VecEnv) -> list[Any]:
    layers = [env]
    while isinstance(layers[-1], VecEnvWrapper):
        layers.append(layers[-1].venv)
    return layers


def _name(thing: object) -> str:
    return type(thing).__name__


class _Reader:
    """Reads a thing and all that it holds, each once.

    :param beyond: what to leave alone
    """

    def __init__(self, beyond: object = _NOTHING) -> None:
        self._beyond = beyond
        self._size = 0
        # the things too, lest the identity of one that was made for the reading goes to another
        self._numbers: dict[int, tuple[int, object]] = {}

    def read(self, thing: Any, where: str) -> State:
        self._size += getattr(thing, "nbytes", 0) + OBJECT_SIZE
        if self._size > MAX_SIZE:
            raise CannotRestoreError(where, f"is where the state grows beyond {MAX_SIZE >> 20} MiB")
        if type(thing) in PLAIN or (isinstance(thing, np.generic) and thing.dtype.char in NUMBERS):
            return "plain", thing, -1
        if thing is self._beyond or isinstance(thing, LEFT_ALONE):
            return "left alone", None, -1
        if id(thing) in self._numbers:
            return "same", None, self._numbers[id(thing)][0]
        number = len(self._numbers)
        self._numbers[id(thing)] = number, thing
        return *self._content(thing, where), number

    def _content(self, thing: Any, where: str) -> tuple[str, Any]:
        match thing:
            case Enum():
                return "member", thing.name
            case np.ndarray() if thing.dtype.char in NUMBERS:
                return "array", thing.copy()
            case np.ndarray() | np.str_() | np.bytes_() if thing.dtype.kind in TEXT:
                return "text", (thing.dtype.str, thing.tolist())
            case np.random.Generator():
                return "generator", thing.bit_generator.state
            case np.random.RandomState():
                return "random_state", thing.get_state(legacy=False)
            case random.Random() if type(thing) is random.Random:
                return "random", thing.getstate()
            case dict() if not hasattr(thing, "__dict__") or not vars(thing):
                _check_keys(thing, where)
                return "dict", (_name(thing), [(key, self.read(thing[key], f"{where}[{key!r}]")) for key in thing])
            case list() | tuple() | deque() | set() | frozenset() if not hasattr(thing, "__dict__") or not vars(thing):
                items = [self.read(item, f"{where}[{i}]") for i, item in enumerate(thing)]
                return "items", (_name(thing), items, getattr(thing, "maxlen", None))
        attributes = {key: self.read(value, f"{where}.{key}") for key, value in _attributes(thing, where).items()}
        return "object", (_name(thing), attributes)


class _Writer:
    """Writes what a :class:`_Reader` read into a thing made like the one that was read."""

    def __init__(self) -> None:
        self._things: dict[int, Any] = {}
        self._taken: set[int] = set()

    def written(self, state: State, thing: Any, where: str) -> Any:
        """Give a thing in the state: this one, where it can be changed, or a new one in its place."""
        kind, content, number = state
        if kind == "plain":
            return content
        if kind == "same":
            return self._things[number]
        if kind == "left alone":
            return thing
        if id(thing) in self._taken:
            # what stands in several places now did not where it was saved
            thing = _NOTHING
        self._taken.add(id(thing))
        if kind in SIMPLE:
            self._things[number] = SIMPLE[kind](content, thing, where)
            return self._things[number]
        write = {"dict": self._dict, "items": self._items, "object": self._object}[kind]
        return write(content, number, thing, where)

    def _dict(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        thing = self._things[number] = _container(name, (), thing, where)
        values = {key: self._item(state, thing.get(key, _NOTHING), f"{where}[{key!r}]") for key, state in states}
        thing.clear()
        thing.update(values)
        return thing

    def _items(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states, maxlen = content
        old = list(thing) if _name(thing) == name and len(thing) == len(states) else [_NOTHING] * len(states)
        values = [self._item(state, old[i], f"{where}[{i}]") for i, state in enumerate(states)]
        if name == "deque":
            thing = deque(values, maxlen)
        elif isinstance(thing, list):
            thing[:] = values
        else:
            thing = _container(name, (values,), _NOTHING, where)
        self._things[number] = thing
        return thing

    def _item(self, state: State, thing: Any, where: str) -> Any:
        value = self.written(state, thing, where)
        if value is _NOTHING:
            raise CannotRestoreError(where, "is missing")
        return value

    def _object(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        if _name(thing) != name:
            found = "missing" if thing is _NOTHING else f"a {_name(thing)}"
            raise CannotRestoreError(where, f"is {found}; where it was saved it was a {name}")
        self._things[number] = thing
        attributes = _attributes(thing, where)
        for key in attributes.keys() - states.keys():
            object.__delattr__(thing, key)
        for key, state in states.items():
            object.__setattr__(thing, key, self._item(state, attributes.get(key, _NOTHING), f"{where}.{key}"))
        return thing


def _check_keys(thing: dict[Any, Any], where: str) -> None:
    for key in thing:
        if not all(
            type(part) in PLAIN or isinstance(part, np.generic) for part in (key if type(key) is tuple else [key])
        ):
            raise CannotRestoreError(where, f"has the key {key!r}, which is no number, string or tuple of these")


def _attributes(thing: Any, where: str) -> dict[str, Any]:
    """Give the attributes that make up a thing.

    :raises CannotRestoreError: if there is more to it
    """
    kind = type(thing)
    if not _consists_of_attributes(kind) or getattr(kind, "__module__", "").split(".")[0] in OUTSIDE:
        raise CannotRestoreError(where, f"is of {kind}, whose state cannot be read")
    state = object.__getstate__(thing)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    # VecEnvWrapper keeps a list of what its class has
    return {key: value for key, value in {**(attributes or {}), **(slots or {})}.items() if key != "class_attributes"}


def _consists_of_attributes(kind: type) -> bool:
    """Say whether an instance is its attributes and no more, as Python's ``copyreg`` asks before it pickles one."""
    if any("__reduce__" in vars(base) or "__reduce_ex__" in vars(base) for base in kind.__mro__[:-1]):
        return False
    n_pointers = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0) + len(copyreg._slotnames(kind))  # type: ignore[attr-defined]
    return kind.__itemsize__ == 0 and kind.__basicsize__ <= object.__basicsize__ + n_pointers * POINTER


def _container(name: str, content: tuple[Any, ...], thing: Any, where: str) -> Any:
    if _name(thing) == name:
        return thing
    if name not in BUILDERS:
        raise CannotRestoreError(where, f"is missing; where it was saved it was a {name}")
    return BUILDERS[name](*content)


def _member(name: str, thing: Any, where: str) -> Enum:
    if not isinstance(thing, Enum):
        raise CannotRestoreError(where, f"is missing; where it was saved it was {name}")
    return type(thing)[name]


def _array(array: np.ndarray, thing: Any, where: str) -> np.ndarray:
    return array.copy()


def _text(content: tuple[str, Any], thing: Any, where: str) -> Any:
    dtype, text = content
    array = np.array(text, dtype)
    return array if array.ndim > 0 else array[()]


def _generator(state: dict[str, Any], thing: Any, where: str) -> np.random.Generator:
    name = state["bit_generator"]
    is_same = isinstance(thing, np.random.Generator) and _name(thing.bit_generator) == name
    generator: np.random.Generator = thing if is_same else np.random.Generator(BIT_GENERATORS[name]())
    generator.bit_generator.state = checked(state)
    return generator


def _random_state(state: dict[str, Any], thing: Any, where: str) -> np.random.RandomState:
    generator: np.random.RandomState = thing if isinstance(thing, np.random.RandomState) else np.random.RandomState()
    generator.set_state(checked(state))
    return generator


def _random(state: Any, thing: Any, where: str) -> random.Random:
    generator: random.Random = thing if type(thing) is random.Random else random.Random()
    generator.setstate(state)
    return generator


SIMPLE: dict[str, Callable[[Any, Any, str], Any]] = {
    "member": _member,
    "array": _array,
    "text": _text,
    "generator": _generator,
    "random_state": _random_state,
    "random": _random,
}
"""how to write what holds nothing else, by its kind"""
