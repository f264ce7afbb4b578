"""States of Python objects as plain data, and objects put back into them.

An object is read as its attributes, down to numbers, arrays, generators of random numbers, and more such objects. What
lies outside of Python (a physics engine, a worker process, a window), and what would not come back as it was (sets,
whose order depends on their past), is refused rather than left out.
"""

import copyreg
import csv
import io
import math
import random
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, Flag
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import VecEnvWrapper

from sb3_a2c_td.saving.allowed import require
from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.generators import checked

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
NUMBERS = "?bBhHiIlLqQefdFD"
"""numpy's types of numbers that are the same on every machine"""
TEXT = "SU"
LEFT_ALONE = (
    # what an environment is, not where it stands: one made anew has the same
    *(type, FunctionType, BuiltinFunctionType, ModuleType, EnvSpec, np.dtype),
    # what it writes to
    *(io.IOBase, ResultsWriter, csv.DictWriter),
)
NO_STATE: dict[type, tuple[str, ...]] = {
    # what it has seen, which grows with every episode and which nothing reads while training
    Monitor: ("episode_returns", "episode_lengths", "episode_times"),
    # a list of what its class has
    VecEnvWrapper: ("class_attributes",),
}
"""attributes that are left alone, by the class that has them"""
OUTSIDE = frozenset({"asyncio", "concurrent", "ctypes", "mmap", "multiprocessing", "socket", "subprocess", "threading"})
"""modules whose objects stand for something outside of Python, whatever attributes they have"""
BUILDERS: dict[str, Callable[..., Any]] = {
    builder.__name__: builder for builder in (list, deque, tuple, dict, OrderedDict)
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

NOTHING = object()


class CannotRestoreError(ValueError):
    """An environment's state cannot be read, or not be put back.

    :param where: the attribute, from the environments on
    :param reason: why
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} {reason}")


def name_of(thing: object) -> str:
    """Give the name of a thing's class."""
    return type(thing).__name__


class Reader:
    """Reads a thing and all that it holds, each once.

    :param beyond: what to leave alone
    """

    def __init__(self, beyond: object = NOTHING) -> None:
        self._beyond = beyond
        self._size = 0
        self._owners: dict[int, object] = {}
        # the things too, lest the identity of one that was made for the reading goes to another
        self._numbers: dict[int, tuple[int, object]] = {}

    def read(self, thing: Any, where: str) -> State:
        """Give a thing's state.

        :param where: what to call it in errors
        :raises CannotRestoreError: if it, or something that it holds, cannot be read
        """
        self._size += OBJECT_SIZE + (thing.nbytes if isinstance(thing, np.ndarray) else 0)
        if self._size > MAX_SIZE:
            raise CannotRestoreError(where, f"is where the state grows beyond {MAX_SIZE >> 20} MiB")
        if type(thing) in PLAIN or (isinstance(thing, np.generic) and thing.dtype.char in NUMBERS):
            return "plain", thing, -1
        if thing is self._beyond or (isinstance(thing, LEFT_ALONE) and not _holds_state(thing)):
            return "left alone", None if thing is self._beyond else _qualified_name(thing), -1
        if id(thing) in self._numbers:
            return "same", None, self._numbers[id(thing)][0]
        number = len(self._numbers)
        self._numbers[id(thing)] = number, thing
        return *self._content(thing, where), number

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
            case dict() if not hasattr(thing, "__dict__") or not vars(thing):
                _check_keys(thing, where)
                return "dict", (name_of(thing), {key: self.read(thing[key], f"{where}[{key!r}]") for key in thing})
            case list() | tuple() | deque() if not hasattr(thing, "__dict__") or not vars(thing):
                items = [self.read(item, f"{where}[{i}]") for i, item in enumerate(thing)]
                return "items", (name_of(thing), items, getattr(thing, "maxlen", None))
        attributes = {key: self.read(value, f"{where}.{key}") for key, value in _attributes(thing, where).items()}
        return "object", (_qualified_name(type(thing)), attributes)

    def _array(self, array: np.ndarray, where: str) -> tuple[str, Any]:
        base: Any = array.base
        if base is None:
            return "array", array.copy("K")
        if type(base) is not np.ndarray:
            owner = base.obj if isinstance(base, memoryview) else base
            # it may have given its memory to this array, but to no other
            if _is_outside(owner) or id(owner) in self._owners:
                raise CannotRestoreError(where, f"is a view into memory of {type(owner)}")
            self._owners[id(owner)] = owner
            return "array", array.copy("K")
        if not base.flags.forc or base.dtype != array.dtype or array.size > base.size:
            raise CannotRestoreError(where, "is a view of another dtype, with repeated numbers, or into one with gaps")
        return "view", (self.read(base, f"{where}.base"), _address(array) - _address(base), array.shape, array.strides)


class Writer:
    """Writes what a :class:`Reader` read into a thing made like the one that was read."""

    def __init__(self) -> None:
        self._things: dict[int, Any] = {}
        self._taken: set[int] = set()

    def written(self, state: State, thing: Any, where: str) -> Any:
        """Give a thing in the state: this one, where it can be changed, or a new one in its place.

        :param where: what to call it in errors
        :raises CannotRestoreError: if the thing is made otherwise
        """
        kind, content, number = state
        if kind == "plain":
            return content
        if kind == "same":
            return self._things[number]
        if kind == "left alone":
            if thing is not NOTHING and content not in (None, _qualified_name(thing)):
                raise CannotRestoreError(where, f"is {_qualified_name(thing)}; where it was saved it was {content}")
            return thing
        if id(thing) in self._taken:
            # what stands in several places now did not where it was saved
            thing = NOTHING
        self._taken.add(id(thing))
        if kind in SIMPLE:
            self._things[number] = SIMPLE[kind](content, thing, where)
            return self._things[number]
        return getattr(self, LINKED[kind])(content, number, thing, where)

    def _dict(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        thing = self._things[number] = _container(name, (), thing, where)
        values = {key: self._item(state, thing.get(key, NOTHING), f"{where}[{key!r}]") for key, state in states.items()}
        thing.clear()
        thing.update(values)
        return thing

    def _items(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states, maxlen = content
        old = list(thing) if name_of(thing) == name and len(thing) == len(states) else [NOTHING] * len(states)
        values = [self._item(state, old[i], f"{where}[{i}]") for i, state in enumerate(states)]
        if name == "deque":
            thing = deque(values, maxlen)
        elif isinstance(thing, list):
            thing[:] = values
        else:
            thing = _container(name, (values,), NOTHING, where)
        self._things[number] = thing
        return thing

    def _view(self, content: Any, number: int, thing: Any, where: str) -> Any:
        state, offset, shape, strides = content
        base = self.written(state, getattr(thing, "base", NOTHING), f"{where}.base")
        buffer = base if base.flags.c_contiguous else base.T
        with _whole(where):
            require(math.prod(shape) <= base.size, "a view with more numbers than there are")
            self._things[number] = np.ndarray(shape, base.dtype, buffer, offset, strides)
        return self._things[number]

    def _method(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, state = content
        if not isinstance(thing, MethodType) or thing.__func__.__qualname__ != name:
            raise CannotRestoreError(where, f"is not the method {name} any more")
        self._things[number] = thing
        self.written(state, thing.__self__, f"{where}.__self__")
        return thing

    def _item(self, state: State, thing: Any, where: str) -> Any:
        value = self.written(state, thing, where)
        if value is NOTHING:
            raise CannotRestoreError(where, "is missing")
        return value

    def _object(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        if _qualified_name(type(thing)) != name:
            found = "missing" if thing is NOTHING else f"a {_qualified_name(type(thing))}"
            raise CannotRestoreError(where, f"is {found}; where it was saved it was a {name}")
        self._things[number] = thing
        attributes = _attributes(thing, where)
        for key in attributes.keys() - states.keys():
            object.__delattr__(thing, key)
        for key, state in states.items():
            object.__setattr__(thing, key, self._item(state, attributes.get(key, NOTHING), f"{where}.{key}"))
        return thing


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _check_keys(thing: dict[Any, Any], where: str) -> None:
    for key in thing:
        if not all(
            type(part) in PLAIN or isinstance(part, np.generic) for part in (key if type(key) is tuple else [key])
        ):
            raise CannotRestoreError(where, f"has the key {key!r}, which is no number, string or tuple of these")


def _check_not_spawned_from(generator: np.random.Generator, where: str) -> None:
    if getattr(generator.bit_generator.seed_seq, "n_children_spawned", 0) > 0:
        raise CannotRestoreError(where, "has spawned other generators, and numpy cannot put it back to spawn more")


def _qualified_name(thing: Any) -> str:
    """Name a function or class by where it stands in its code; of other things, name their class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _attributes(thing: Any, where: str) -> dict[str, Any]:
    """Give the attributes that make up a thing.

    :raises CannotRestoreError: if there is more to it
    """
    kind = type(thing)
    if not _consists_of_attributes(kind) or _is_outside(thing):
        raise CannotRestoreError(where, f"is of {kind}, whose state cannot be read")
    state = object.__getstate__(thing)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    no_state = {name for base, names in NO_STATE.items() if isinstance(thing, base) for name in names}
    return {key: value for key, value in {**(attributes or {}), **(slots or {})}.items() if key not in no_state}


def _holds_state(thing: Any) -> bool:
    """Say whether what looks like code or like a file keeps something in memory."""
    if isinstance(thing, BuiltinFunctionType):
        return not isinstance(thing.__self__, ModuleType | NoneType)
    return isinstance(thing, io.BytesIO | io.StringIO)


def _is_outside(thing: Any) -> bool:
    return getattr(type(thing), "__module__", "").split(".")[0] in OUTSIDE


def _consists_of_attributes(kind: type) -> bool:
    """Say whether an instance is its attributes and no more, as Python's ``copyreg`` asks before it pickles one."""
    if any("__reduce__" in vars(base) or "__reduce_ex__" in vars(base) for base in kind.__mro__[:-1]):
        return False
    n_pointers = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0) + len(copyreg._slotnames(kind))  # type: ignore[attr-defined]
    return kind.__itemsize__ == 0 and kind.__basicsize__ <= object.__basicsize__ + n_pointers * POINTER


def _container(name: str, content: tuple[Any, ...], thing: Any, where: str) -> Any:
    if name_of(thing) == name:
        return thing
    if name not in BUILDERS:
        raise CannotRestoreError(where, f"is missing; where it was saved it was a {name}")
    return BUILDERS[name](*content)


def _member(name: str, thing: Any, where: str) -> Enum:
    if not isinstance(thing, Enum):
        raise CannotRestoreError(where, f"is missing; where it was saved it was {name}")
    return type(thing)[name]


@contextmanager
def _whole(where: str) -> Iterator[None]:
    """Explain what numpy says of an array whose parts do not match."""
    try:
        yield
    except ValueError as error:
        raise UnreadableCheckpointError(f"the saved state of {where} is damaged ({error})") from error


def _array(array: np.ndarray, thing: Any, where: str) -> np.ndarray:
    return array.copy("K")


def _path(content: str, thing: Any, where: str) -> PurePath:
    return type(thing)(content) if isinstance(thing, PurePath) else Path(content)


def _text(content: tuple[str, tuple[int, ...], bytes], thing: Any, where: str) -> Any:
    dtype, shape, characters = content
    with _whole(where):
        require(np.dtype(dtype).kind in TEXT, "text that is none")
        array = np.frombuffer(characters, dtype).reshape(shape).copy()
    return array if array.ndim > 0 else array[()]


def _generator(state: dict[str, Any], thing: Any, where: str) -> np.random.Generator:
    name = state["bit_generator"]
    is_same = isinstance(thing, np.random.Generator) and name_of(thing.bit_generator) == name
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
    "path": _path,
    "text": _text,
    "generator": _generator,
    "random_state": _random_state,
    "random": _random,
}
"""how to write what holds nothing else, by its kind"""

LINKED = {kind: f"_{kind}" for kind in ("dict", "items", "view", "method", "object")}
"""methods of :class:`Writer` for what holds other things"""
