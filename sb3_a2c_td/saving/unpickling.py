"""Unpickling without running code.

Python's own unpickler, written in Python, with each of its instructions that can name, call or change something put
under the rules of :mod:`~sb3_a2c_td.saving.allowed` and :mod:`~sb3_a2c_td.saving.states`. It works through
a pickle instruction by instruction, so a pickle takes time and memory in proportion to its length.
"""

import io
import pickle
import pickletools
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, ClassVar, NoReturn, cast

import numpy as np
import torch as th
from numpy.random import PCG64, SeedSequence

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.allowed import CALLS, KINDS_OF_TRANSITIONS, Name, Refused, Token, named, require
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving.states import ATTRIBUTES, check_attributes, fill

PLAIN = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4, pickle.BINFLOAT),
    *(pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8),
    *(pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.TUPLE),
    *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET),
    *(pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    # these two look names up by find_class()
    *(pickle.GLOBAL, pickle.STACK_GLOBAL),
)
"""instructions that are followed as they are: all that pickles of protocols 4 and 5 need, besides those below"""

NAMES = {instruction.code: instruction.name for instruction in pickletools.opcodes}

SCALARS = frozenset({NoneType, bool, int, float, complex, str, bytes})

DAMAGE = (
    *(pickle.UnpicklingError, struct.error, EOFError, MemoryError, RecursionError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
)
"""what instructions raise that do not fit together"""

MAX_DEPTH = 300
"""how deep things may lie in each other"""
MAX_GROWTH = 20
"""how many times larger than its pickle a thing may be, with what is in it twice counted twice"""
SLACK = 5_000_000
"""how much larger than that it may be"""
MAX_NUMBERS = 2**14
"""how many keys may be no strings: whoever chooses numbers well gets the same hash for all of them"""


def restricted_loads(content: bytes) -> Any:
    """Read a pickle of plain data, numpy's arrays and what else saved models hold, without running code from it.

    :param content: the pickle
    :return: what was pickled
    :raises UntrustedCheckpointError: if it asks for anything else, saying for what
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        return loads(content)
    except Refused as refused:
        raise UntrustedCheckpointError(
            f"the pickle asks for {refused}, which models of TDA2C do not need, and loading it could run code; if you "
            "made the file yourself, load it with trusted=True"
        ) from None


def loads(content: bytes) -> Any:
    """Do what :func:`restricted_loads` does, for whoever words the error.

    :raises Refused: if it asks for anything else, saying for what
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        thing = Unpickler(content, len(content)).load()
        check_content(thing, len(content))
    except DAMAGE as error:
        raise UnreadableCheckpointError(f"a damaged pickle ({type(error).__name__}: {error})") from error
    return thing


class Instructions(dict[int, Callable[[Any], None]]):
    """What follows each instruction that is allowed, by its code."""

    def __missing__(self, code: int) -> NoReturn:
        raise Refused(f"the instruction {NAMES[chr(code)]}")


class Unpickler(pickle._Unpickler):
    """Reads a pickle that follows the rules.

    :param content: the pickle
    :param n_bytes: its length, with all that belongs to it
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = Instructions(
        {code[0]: pickle._Unpickler.dispatch[code[0]] for code in PLAIN}
    )
    calls: ClassVar[dict[Name, Callable[..., Any]]] = CALLS
    """what may be called, by name"""
    stack: list[Any]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, content: bytes, n_bytes: int) -> None:
        super().__init__(io.BytesIO(content))
        self._room = MAX_GROWTH * n_bytes + SLACK
        self._n_numbers = 0

    def find_class(self, module: str, name: str) -> Any:
        """Give what a pickle names."""
        return named(module, name)

    def _made(self, thing: Any) -> None:
        """Keep account of what was made: a pickle may ask for copies of the same bytes again and again."""
        self._room -= _own_size(thing)
        require(self._room >= 0, "it is much larger than its pickle")

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Token) or called.name not in self.calls:
            raise Refused(f"a call of {_name(called)}")
        require(type(arguments) is tuple, "a call without arguments")
        self.append(self.calls[called.name](*arguments))
        self._made(self.stack[-1])

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = _call

    def _build(self) -> None:
        state = self.stack.pop()
        fill(self.stack[-1], state)
        self._made(self.stack[-1])

    dispatch[pickle.BUILD[0]] = _build

    def _inst(self) -> NoReturn:
        module, name = (self.readline()[:-1].decode() for _ in range(2))
        raise Refused(f"a call of {module}.{name}")

    dispatch[pickle.INST[0]] = _inst

    def _bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        content = bytearray(self.read(length))
        require(len(content) == length, "fewer bytes than it says")
        self.append(content)

    dispatch[pickle.BYTEARRAY8[0]] = _bytearray

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    dispatch[pickle.APPEND[0]] = _append

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    dispatch[pickle.APPENDS[0]] = _appends

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        require(type(target) in (list, deque), "items of no list")
        target.extend(items)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    dispatch[pickle.SETITEM[0]] = _set_item

    def _set_items(self) -> None:
        self._update(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = _set_items

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        require(type(target) in (dict, OrderedDict), "items of no dict")
        self._check_keys(items[::2])
        target.update(zip(items[::2], items[1::2], strict=True))

    def _add_items(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        require(type(target) is set, "items of no set")
        self._check_keys(items)
        target.update(items)

    dispatch[pickle.ADDITEMS[0]] = _add_items

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self._check_keys(items)
        self.append(frozenset(items))

    dispatch[pickle.FROZENSET[0]] = _frozenset

    def _check_keys(self, keys: list[Any]) -> None:
        """Keys are hashed, which for tuples in tuples in tuples could take for ever."""
        for key in keys:
            parts = key if type(key) is tuple else (key,)
            is_scalar = all(type(part) in SCALARS or isinstance(part, np.generic) for part in parts)
            require(is_scalar, "a key that is no scalar")
        self._n_numbers += sum(type(key) not in (str, bytes) for key in keys)
        require(self._n_numbers <= MAX_NUMBERS, "too many keys that are no strings")


def _name(thing: Any) -> str:
    if isinstance(thing, Token):
        return str(thing)
    if isinstance(thing, type):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"a {type(thing).__name__}"


# Looking through what was read

LEAVES = (
    *(type, th.dtype, th.device, np.dtype, np.generic, np.ndarray, th.Tensor, th.TypedStorage),
    *(np.random.Generator, PCG64, SeedSequence, TransitionBuffer, bytearray),
)


def check_content(thing: Any, n_bytes: int) -> None:
    """Check a thing that was read, and all that is in it.

    What lies in itself, lies too deep, or holds the same many times over could keep whoever prints, compares or copies
    it busy for ever.

    :param thing: the thing
    :param n_bytes: the number of bytes that it was read from
    :raises Refused: if it holds what should only have been called, or things with attributes that do not belong there
    :raises ValueError: if it is nested too deep, or much larger than its bytes
    """
    size, _ = _measured(thing, {}, 0)
    require(size <= MAX_GROWTH * n_bytes + SLACK, "it is much larger than its bytes")


def _measured(thing: Any, known: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Give size and height of a thing."""
    items = _items(thing)
    if items is None:
        return _own_size(thing), 0
    if id(thing) in known:
        return known[id(thing)]
    # while it is open: what meets it again lies in itself
    known[id(thing)] = 0, MAX_DEPTH
    size, height = 1, 0
    for item in items:
        require(depth < MAX_DEPTH, "it is nested too deep")
        item_size, item_height = _measured(item, known, depth + 1)
        size, height = size + item_size, max(height, item_height + 1)
    require(height <= MAX_DEPTH, "it is nested too deep, or lies in itself")
    known[id(thing)] = size, height
    return size, height


def _items(thing: Any) -> Iterable[Any] | None:
    """Give what lies in a thing; ``None`` if there can be nothing."""
    kind = type(thing)
    if kind in SCALARS:
        return None
    if kind in (list, tuple, *KINDS_OF_TRANSITIONS, deque, set, frozenset):
        return cast(Iterable[Any], thing)
    if kind in (dict, OrderedDict):
        return [*thing, *thing.values()]
    if kind in ATTRIBUTES:
        check_attributes(thing)
        return list(vars(thing).values())
    if isinstance(thing, LEAVES) and not isinstance(thing, Token):
        return None
    raise Refused(f"{_name(thing)} itself")


def _own_size(thing: Any) -> int:
    """Give the size of a thing in bytes, roughly, without what lies in it."""
    if isinstance(thing, str | bytes | bytearray):
        return 1 + len(thing)
    if isinstance(thing, TransitionBuffer):
        return _measured(thing.transitions(), {}, 0)[0] if len(thing) > 0 else 1
    if isinstance(thing, th.TypedStorage):
        return int(thing._untyped_storage.nbytes())  # nbytes() warns of being deprecated
    return int(getattr(thing, "nbytes", 1)) if isinstance(thing, np.ndarray | np.generic | th.Tensor) else 1
