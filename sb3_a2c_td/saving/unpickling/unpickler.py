"""An unpickler that follows only the instructions, calls and states that are allowed."""

import io
import pickle
import pickletools
import struct
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from sb3_a2c_td.saving.errors import NotAllowedError, UnreadableCheckpointError, UntrustedCheckpointError, require
from sb3_a2c_td.saving.unpickling.allowed_types import CALLS, find
from sb3_a2c_td.saving.unpickling.budget import Budget
from sb3_a2c_td.saving.unpickling.content_checks import check_content, described, own_size
from sb3_a2c_td.saving.unpickling.pickled_states import fill
from sb3_a2c_td.saving.unpickling.tokens import Name, Token

FRAMING = (pickle.PROTO, pickle.FRAME, pickle.STOP)
STACK = (pickle.MARK, pickle.POP, pickle.POP_MARK)
FROM_MEMO = (pickle.BINGET, pickle.LONG_BINGET)
CONSTANTS = (pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE)
NUMBERS = (pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4, pickle.BINFLOAT)
TEXTS = (pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8)
BYTES = (pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8)
TUPLES = (pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.TUPLE)
# both resolve names by find_class()
GLOBALS = (pickle.GLOBAL, pickle.STACK_GLOBAL)

HARMLESS = (
    *FRAMING,
    *STACK,
    *FROM_MEMO,
    *CONSTANTS,
    *NUMBERS,
    *TEXTS,
    *BYTES,
    *TUPLES,
    *GLOBALS,
)
"""the instructions that Python's own methods execute: all that pickles of protocols 4 and 5 need besides those below"""

INSTRUCTION_NAMES = {instruction.code: instruction.name for instruction in pickletools.opcodes}

PICKLE_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    MemoryError,
    RecursionError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""the exceptions that instructions raise if they do not fit together"""


OBJECT_SIZE = 100
"""bytes that the result of a call takes besides its content"""
SIZED = (str, bytes, bytearray, tuple, list, dict)
"""arguments that a call may go through"""


def restricted_loads(content: bytes) -> Any:
    """Unpickle plain data, numpy arrays and whatever else saved models need, without running code from the pickle.

    :param content: the pickle
    :return: the object
    :raises UntrustedCheckpointError: if it asks for anything else; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        return loads(content)
    except NotAllowedError as error:
        raise UntrustedCheckpointError(
            f"the pickle asks for {error}, which models of TDA2C do not need, and loading it could run code; if you "
            "made the file yourself, load it with trusted=True"
        ) from None


def loads(content: bytes, budget: Budget | None = None) -> Any:
    """Do the same as :func:`restricted_loads`, and leave the wording of the error to the caller.

    :param content: the pickle
    :param budget: the budget of the file that the pickle is from; ``None``: the pickle is a whole file
    :return: the object
    :raises NotAllowedError: if it asks for anything that is not allowed; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        thing = Unpickler(content, budget or Budget(len(content))).load()
        check_content(thing, len(content))
    except PICKLE_DAMAGE as error:
        raise UnreadableCheckpointError(f"a damaged pickle ({type(error).__name__}: {error})") from error
    return thing


def _length(arguments: Any) -> int:
    """Count the items of arguments and those in each of them, which a call or a state may go through."""
    parts = arguments if type(arguments) is tuple else (arguments,)
    return len(parts) + sum(len(part) for part in parts if isinstance(part, SIZED))


class Instructions(dict[int, Callable[[Any], None]]):
    """The methods that execute the allowed instructions, by the instruction's code."""

    def __missing__(self, code: int) -> NoReturn:
        raise NotAllowedError(f"the instruction {INSTRUCTION_NAMES[chr(code)]}")


class Unpickler(pickle._Unpickler):
    """Reads a pickle that asks only for allowed types, calls and states.

    :param content: the pickle
    :param budget: the budget of the file that it is from
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = Instructions(
        {code[0]: pickle._Unpickler.dispatch[code[0]] for code in HARMLESS}
    )
    calls: ClassVar[dict[Name, Callable[..., Any]]] = CALLS
    """the functions that run in place of those that the pickle calls, by name"""

    # attributes of Python's unpickler
    stack: list[Any]
    memo: dict[int, Any]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, content: bytes, budget: Budget) -> None:
        super().__init__(io.BytesIO(content))
        self._budget = budget

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name.

        :param module: the module, which is not imported
        :param name: the name in the module
        """
        return find(module, name)

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Token) or called.name not in self.calls:
            raise NotAllowedError(f"a call of {described(called)}")
        require(type(arguments) is tuple, "a call without arguments")
        # a few bytes can pass the same long argument again and again
        self._budget.spend(OBJECT_SIZE + _length(arguments))
        made = self.calls[called.name](*arguments)
        self.append(made)
        self._budget.spend(own_size(made))

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = _call

    def _build(self) -> None:
        state = self.stack.pop()
        filled = self.stack[-1]
        self._budget.spend(OBJECT_SIZE + _length(state))
        fill(filled, state)
        self._budget.spend(own_size(filled))

    dispatch[pickle.BUILD[0]] = _build

    def _inst(self) -> NoReturn:
        module = self.readline()[:-1].decode()
        name = self.readline()[:-1].decode()
        raise NotAllowedError(f"a call of {module}.{name}")

    dispatch[pickle.INST[0]] = _inst

    def _bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        content = bytearray(self.read(length))
        require(len(content) == length, "fewer bytes than it says")
        self.append(content)

    dispatch[pickle.BYTEARRAY8[0]] = _bytearray

    def _memoize(self) -> None:
        # a byte each, for an entry of a dict: pickles memoize an object once
        thing, n = self.stack[-1], len(self.memo)
        require(n == 0 or self.memo[n - 1] is not thing, "an object memoized twice")
        self.memo[n] = thing

    dispatch[pickle.MEMOIZE[0]] = _memoize

    def _empty_list(self) -> None:
        self._append_container([])

    dispatch[pickle.EMPTY_LIST[0]] = _empty_list

    def _empty_dict(self) -> None:
        self._append_container({})

    dispatch[pickle.EMPTY_DICT[0]] = _empty_dict

    def _empty_set(self) -> None:
        self._append_container(set())

    dispatch[pickle.EMPTY_SET[0]] = _empty_set

    def _append_container(self, container: Any) -> None:
        self._budget.spend(sys.getsizeof(container))
        self.append(container)

    @contextmanager
    def _growing(self, container: Any) -> Iterator[None]:
        """Count what a container grows by while the context lasts."""
        before = sys.getsizeof(container)
        yield
        self._budget.spend(sys.getsizeof(container) - before)

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    dispatch[pickle.APPEND[0]] = _append

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    dispatch[pickle.APPENDS[0]] = _appends

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        require(type(target) in (list, deque), "items of no list")
        with self._growing(target):
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
        self._budget.check_keys(items[::2])
        with self._growing(target):
            target.update(zip(items[::2], items[1::2], strict=True))

    def _add_items(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        require(type(target) is set, "items of no set")
        self._budget.check_keys(items)
        with self._growing(target):
            target.update(items)

    dispatch[pickle.ADDITEMS[0]] = _add_items

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self._budget.check_keys(items)
        self._append_container(frozenset(items))

    dispatch[pickle.FROZENSET[0]] = _frozenset
