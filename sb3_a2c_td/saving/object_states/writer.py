"""Puts objects into a state that was read."""

import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path, PurePath
from types import MethodType
from typing import Any

import numpy as np

from sb3_a2c_td.saving.errors import UnreadableCheckpointError, require
from sb3_a2c_td.saving.generators import check_numpy_state
from sb3_a2c_td.saving.object_states.format import (
    ALL_STATE,
    NOTHING,
    TEXT,
    CannotRestoreError,
    State,
    attributes_of,
    class_name,
    is_left_alone,
    qualified_name,
)

CONTAINERS: dict[str, Callable[..., Any]] = {
    "list": list,
    "deque": deque,
    "tuple": tuple,
    "dict": dict,
    "OrderedDict": OrderedDict,
}
"""containers that can be created, by name"""
BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    "MT19937": np.random.MT19937,
    "PCG64": np.random.PCG64,
    "PCG64DXSM": np.random.PCG64DXSM,
    "Philox": np.random.Philox,
    "SFC64": np.random.SFC64,
}


class Writer:
    """Puts an object into a state that a ``Reader`` read from one like it."""

    def __init__(self) -> None:
        self._things: dict[int, Any] = {}
        self._taken: set[int] = set()
        self._writers: dict[str, Callable[[Any, int, Any, str], Any]] = {
            "dict": self._dict,
            "items": self._items,
            "view": self._view,
            "method": self._method,
            "object": self._object,
        }

    def write(self, state: State, thing: Any, where: str) -> Any:
        """Return an object in the state: the given one if it can be changed, or a new one in its place.

        :param state: the state
        :param thing: the object; ``NOTHING`` if there is none
        :param where: its path in errors
        :raises CannotRestoreError: if the object is of another kind than the one that was read
        """
        kind, content, number = state
        if kind == "plain":
            return content
        if kind == "same":
            return self._things[number]
        if kind == "left alone":
            _check_same_name(content, thing, where)
            return thing
        if id(thing) in self._taken:
            # shared now, but not when it was read
            thing = NOTHING
        self._taken.add(id(thing))
        if kind in self._writers:
            return self._writers[kind](content, number, thing, where)
        self._things[number] = SIMPLE[kind](content, thing, where)
        return self._things[number]

    def _item(self, state: State, thing: Any, where: str) -> Any:
        value = self.write(state, thing, where)
        if value is NOTHING:
            raise CannotRestoreError(where, "is missing")
        return value

    def _dict(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        if class_name(thing) != name:
            thing = _new_container(name, (), where)
        self._things[number] = thing
        values = {key: self._item(state, thing.get(key, NOTHING), f"{where}[{key!r}]") for key, state in states.items()}
        thing.clear()
        thing.update(values)
        return thing

    def _items(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states, maxlen = content
        is_alike = class_name(thing) == name and len(thing) == len(states)
        old = list(thing) if is_alike else [NOTHING] * len(states)
        values = [self._item(state, old[i], f"{where}[{i}]") for i, state in enumerate(states)]
        if name == "deque":
            thing = deque(values, maxlen)
        elif isinstance(thing, list) and class_name(thing) == name:
            thing[:] = values
        else:
            thing = _new_container(name, (values,), where)
        self._things[number] = thing
        return thing

    def _view(self, content: Any, number: int, thing: Any, where: str) -> Any:
        state, offset, shape, strides = content
        base = self.write(state, getattr(thing, "base", NOTHING), f"{where}.base")
        buffer = base if base.flags.c_contiguous else base.T
        with _naming_damage(where):
            require(math.prod(shape) <= base.size, "a view with more numbers than there are")
            self._things[number] = np.ndarray(shape, base.dtype, buffer, offset, strides)
        return self._things[number]

    def _method(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, state = content
        if not isinstance(thing, MethodType) or thing.__func__.__qualname__ != name:
            raise CannotRestoreError(where, f"is not the method {name} any more")
        self._things[number] = thing
        self.write(state, thing.__self__, f"{where}.__self__")
        return thing

    def _object(self, content: Any, number: int, thing: Any, where: str) -> Any:
        name, states = content
        if qualified_name(type(thing)) != name:
            found = "missing" if thing is NOTHING else f"a {qualified_name(type(thing))}"
            raise CannotRestoreError(where, f"is {found}; when it was saved it was a {name}")
        with _naming_damage(where):
            require(not is_left_alone(thing), f"it has attributes of a {name}, which has no state")
        self._things[number] = thing
        if type(thing) in ALL_STATE:
            self._fill(states, thing, where)
            return thing
        attributes = attributes_of(thing, where)
        for key in attributes.keys() - states.keys():
            object.__delattr__(thing, key)
        for key, state in states.items():
            object.__setattr__(thing, key, self._item(state, attributes.get(key, NOTHING), f"{where}.{key}"))
        return thing

    def _fill(self, states: dict[str, State], thing: Any, where: str) -> None:
        """Change an object of :data:`ALL_STATE`, whose arrays, generators and objects stay the same ones."""
        attributes = attributes_of(thing, where)
        with _naming_damage(where):
            require(states.keys() == attributes.keys(), f"its attributes are {', '.join(states)}")
        for key, value in attributes.items():
            object.__setattr__(thing, key, self._filled(states[key], value, f"{where}.{key}"))

    def _filled(self, state: State, thing: Any, where: str) -> Any:
        """Return a number in place of another one, or the same object with another content."""
        kind, content, number = state
        with _naming_damage(where):
            require(kind == _kind_of(thing), f"a state of the kind {kind!r} in place of {_kind_of(thing)!r}")
        if kind == "object":
            return self._object(content, number, thing, where)
        if kind == "items":
            self._fill_items(content[1], thing, where)
        else:
            with _naming_damage(where):
                thing = FILL[kind](content, thing)
        self._things[number] = thing
        self._taken.add(id(thing))
        return thing

    def _fill_items(self, states: list[State], items: list[Any], where: str) -> None:
        with _naming_damage(where):
            require(len(states) == len(items), f"{len(states)} items in place of {len(items)}")
        for i, (state, item) in enumerate(zip(states, items, strict=True)):
            self._filled(state, item, f"{where}[{i}]")


def _check_same_name(name: str | None, thing: Any, where: str) -> None:
    """Check that code or a file, which was left alone, is the same now."""
    if thing is NOTHING or name is None or name == qualified_name(thing):
        return
    raise CannotRestoreError(where, f"is {qualified_name(thing)}; when it was saved it was {name}")


def _kind_of(thing: Any) -> str:
    """Return the kind of a state with which an object of :data:`ALL_STATE` can be filled."""
    match thing:
        case int() | float():
            return "plain"
        case list():
            return "items"
        case np.ndarray():
            return "array"
        case np.random.Generator():
            return "generator"
    return "object"


def _fill_number(content: Any, number: float) -> Any:
    require(type(content) is type(number), f"{content!r} in place of {number!r}")
    return content


def _fill_array(content: np.ndarray, array: np.ndarray) -> np.ndarray:
    expected, found = f"{array.dtype} {array.shape}", f"{content.dtype} {content.shape}"
    require(found == expected, f"{found} in place of {expected}")
    array[...] = content
    return array


def _fill_generator(state: dict[str, Any], generator: np.random.Generator) -> np.random.Generator:
    check_numpy_state(state)
    # numpy raises ValueError for the state of another bit generator
    generator.bit_generator.state = state
    return generator


FILL: dict[str, Callable[[Any, Any], Any]] = {"plain": _fill_number, "array": _fill_array, "generator": _fill_generator}
"""how to fill an object that holds no others, by its kind"""


def _new_container(name: str, content: tuple[Any, ...], where: str) -> Any:
    if name not in CONTAINERS:
        raise CannotRestoreError(where, f"is missing; when it was saved it was a {name}")
    return CONTAINERS[name](*content)


@contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    """Name the array in numpy's errors about shapes, dtypes and offsets that do not fit together."""
    try:
        yield
    except UnreadableCheckpointError:
        raise
    except ValueError as error:
        raise UnreadableCheckpointError(f"the saved state of {where} is damaged ({error})") from error


# Objects that hold no others


def _member(name: str, thing: Any, where: str) -> Enum:
    if not isinstance(thing, Enum):
        raise CannotRestoreError(where, f"is missing; when it was saved it was {name}")
    return type(thing)[name]


def _array(array: np.ndarray, thing: Any, where: str) -> np.ndarray:
    return array.copy("K")


def _path(content: str, thing: Any, where: str) -> PurePath:
    return type(thing)(content) if isinstance(thing, PurePath) else Path(content)


def _text(content: tuple[str, tuple[int, ...], bytes], thing: Any, where: str) -> Any:
    dtype, shape, characters = content
    with _naming_damage(where):
        require(np.dtype(dtype).kind in TEXT, "not a text")
        array = np.frombuffer(characters, dtype).reshape(shape).copy()
    return array if array.ndim > 0 else array[()]


def _generator(state: dict[str, Any], thing: Any, where: str) -> np.random.Generator:
    check_numpy_state(state)
    name = state["bit_generator"]
    if isinstance(thing, np.random.Generator) and class_name(thing.bit_generator) == name:
        generator = thing
    else:
        generator = np.random.Generator(BIT_GENERATORS[name]())
    generator.bit_generator.state = state
    return generator


def _random_state(state: dict[str, Any], thing: Any, where: str) -> np.random.RandomState:
    check_numpy_state(state)
    generator = thing if isinstance(thing, np.random.RandomState) else np.random.RandomState()
    generator.set_state(state)
    return generator


def _random(state: Any, thing: Any, where: str) -> random.Random:
    generator = thing if type(thing) is random.Random else random.Random()
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
"""how to write an object that holds no others, by its kind"""
