"""Fingerprints of everything outside of a function that numba compiles into its machine code.

numba treats globals, closure variables and attributes of modules as constants, and compiles the functions of numba that
are called with it. Its cache on disk knows only the file of the function, its bytecode and its closure variables.
"""

import dis
import hashlib
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import prange, types
from numba.extending import is_jitted

LIBRARIES = frozenset({"builtins", "cmath", "math", "numba", "numpy", "operator"})
"""modules whose contents change only with their version"""
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), np.generic, np.dtype, types.Type)
"""types whose ``repr`` tells everything"""


FORMAT = "3"
"""changes what fingerprints are of: in earlier formats, cached machine code could be that of another function in the
same line, or of a helper with other globals"""


class NoFingerprintError(Exception):
    """A function uses something whose content is unknown."""


def fingerprint(function: FunctionType) -> str:
    """Return a hash of a function's code, and of what it uses from outside, down to the functions of numba it calls.

    :param function: the function
    :raises NoFingerprintError: if it uses something whose content is unknown
    """
    return hashlib.sha256("\n".join([FORMAT, *_Parts().function(function)]).encode()).hexdigest()[:16]


def helpers(function: FunctionType) -> list[Any]:
    """Return the functions of numba that a function calls, also through others, the innermost first.

    :param function: the function
    """
    found: dict[int, Any] = {}
    _add_helpers(function, found, set())
    return list(found.values())


def _add_helpers(function: Any, found: dict[int, Any], begun: set[int]) -> None:
    for value in _used(function):
        if is_jitted(value) and id(value) not in begun:
            begun.add(id(value))
            _add_helpers(value.py_func, found, begun)
            found[id(value)] = value


def _used(function: Any) -> Iterator[Any]:
    """Return the values of globals and closure variables, with the attributes of modules and the items of tuples."""
    codes = list(_nested(function.__code__))
    names = {name for code in codes for name in _global_names(code)}
    attributes = {name for code in codes for name in code.co_names}
    values = [function.__globals__[name] for name in sorted(names & function.__globals__.keys())]
    seen: set[ModuleType] = set()
    for value in [*values, *(cell.cell_contents for cell in function.__closure__ or ())]:
        yield from _within(value, attributes, seen)


def _within(value: Any, attributes: set[str], seen: set[ModuleType]) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _within(item, attributes, seen)
    elif isinstance(value, ModuleType):
        if value in seen or value.__name__.split(".")[0] in LIBRARIES:
            return
        seen.add(value)
        for name in sorted(attributes):
            if hasattr(value, name):
                yield from _within(getattr(value, name), attributes, seen)
    else:
        yield value


class _Parts:
    """Describes values as text, each helper and module once."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    def function(self, function: FunctionType) -> Iterator[str]:
        """Describe the code of a function, and its globals, closure variables and defaults."""
        codes = list(_nested(function.__code__))
        for code in codes:
            yield code.co_code.hex()
            yield from map(_constant, code.co_consts)
            yield f"{code.co_names} {code.co_varnames} {code.co_freevars}"
        attributes = {name for code in codes for name in code.co_names}
        for name in sorted({name for code in codes for name in _global_names(code)}):
            if name in function.__globals__:
                yield from self._value(name, function.__globals__[name], attributes)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            yield from self._value(name, cell.cell_contents, attributes)
        yield from self._value("defaults", function.__defaults__, attributes)

    def _value(self, name: str, value: Any, attributes: set[str]) -> Iterator[str]:
        yield f"{name}: {type(value).__qualname__}"
        if isinstance(value, PLAIN):
            yield repr(value)
        elif isinstance(value, tuple):
            for item in value:
                yield from self._value("item", item, attributes)
        elif type(value) is np.ndarray and value.dtype.kind in "biufcSU":
            yield f"{value.dtype.str} {value.shape} {value.strides} {hashlib.sha256(value.tobytes()).hexdigest()}"
        elif isinstance(value, ModuleType):
            yield from self._module(value, attributes)
        elif is_jitted(value):
            yield from self._helper(value)
        elif _is_of_library(value):
            yield value.__name__
        else:
            raise NoFingerprintError(name)

    def _module(self, module: ModuleType, attributes: set[str]) -> Iterator[str]:
        yield module.__name__
        if module.__name__.split(".")[0] in LIBRARIES or self._is_known((module, frozenset(attributes))):
            return
        for name in sorted(attributes):
            if hasattr(module, name):
                yield from self._value(name, getattr(module, name), attributes)

    def _helper(self, helper: Any) -> Iterator[str]:
        function = helper.py_func
        yield f"{function.__module__}.{function.__qualname__}"
        if self._is_known(function):
            return
        yield from (f"{name}: {_constant(option)}" for name, option in sorted(helper.targetoptions.items()))
        yield from self.function(function)

    def _is_known(self, thing: Any) -> bool:
        is_known = thing in self._seen
        self._seen.add(thing)
        return is_known


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Return the code of a function and of the functions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _global_names(code: CodeType) -> set[str]:
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return value.co_qualname
    # the order in sets of strings differs between processes
    return repr(sorted(map(repr, value)) if isinstance(value, set | frozenset) else value)


def _is_of_library(value: Any) -> bool:
    if value is prange or isinstance(value, np.ufunc):
        return True
    module = getattr(value, "__module__", None) or ""
    return callable(value) and hasattr(value, "__name__") and module.split(".")[0] in LIBRARIES - {"numba"}
