"""Compiles the functions of environments with numba, each for one signature.

A function that is compiled for exactly one signature is a first-class function: compiled code takes it as an argument,
whose type is its signature. So one kernel steps all environments with the same dtypes, compiled once for all of them.
"""

import functools
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numba
import numpy as np
from gymnasium import spaces
from numba import types
from numba.core.errors import NumbaError, NumbaExperimentalFeatureWarning, NumbaWarning, UnsupportedBytecodeError
from numba.extending import is_jitted

from sb3_a2c_td.compiled.env import CompiledEnv, Function
from sb3_a2c_td.compiled.fingerprints import NoFingerprintError, fingerprint, helpers

GENERATOR = types.npy_rng
"""numba's type of ``numpy.random.Generator``"""
FORMS = {
    "reset": "reset(state, rng), which returns nothing",
    "step": "step(state, action, rng), which returns (reward, terminated)",
    "observe": "observe(state, out), which returns nothing",
}
NUMBA_PREFIX = re.compile(r"\x1b\[\d*m|Failed in nopython mode pipeline \(step: .*\)")
NUMBA_CAUSE = re.compile(
    r">>> (?P<call>.*?\))\s+There are .*?specific error: TypingError: (?P<cause>.*?) +raised from "
)
NUMBA_PLACE = re.compile(r" File | During: | Raised from |\. Raised from | for '\$\S+', defined at ")


class CompiledFunctions(NamedTuple):
    """The functions of an environment, compiled."""

    functions: tuple[Any, Any, Any]
    """reset, step and observe, as numba's dispatchers"""
    as_list: Any
    """a typed list with this tuple as its only item: numba takes it as an argument within a microsecond, and each of
    the functions in a hundred"""


def compiled_functions(env: CompiledEnv) -> CompiledFunctions:
    """Return the compiled functions of an environment, which are compiled once.

    :param env: the environment
    :raises ValueError: if one does not compile
    """
    if env not in _compiled:
        signatures = signatures_of(env)
        written = {"reset": env.reset, "step": env.step, "observe": env.observe or _copy}
        functions = tuple(compile_function(name, written[name], signatures[name]) for name in written)
        _compiled[env] = CompiledFunctions(functions, in_typed_list(functions, list(signatures.values())))
    return _compiled[env]


_compiled: WeakKeyDictionary[CompiledEnv, CompiledFunctions] = WeakKeyDictionary()


def signatures_of(env: CompiledEnv) -> dict[str, Any]:
    """Return numba's signatures of ``reset``, ``step`` and ``observe``.

    :param env: the environment
    """
    state = numba.from_dtype(np.dtype(env.state_dtype))[::1]
    action = types.int64 if isinstance(env.action_space, spaces.Discrete) else types.float32[::1]
    out = (types.int64 if isinstance(env.observation_space, spaces.Discrete) else types.float32)[::1]
    return {
        "reset": types.void(state, GENERATOR),
        "step": types.Tuple((types.float64, types.boolean))(state, action, GENERATOR),
        "observe": types.void(state, out),
    }


def compile_function(name: str, function: Function, signature: Any) -> Any:
    """Compile a function for one signature.

    Its machine code is cached on disk if it was written in a file, and if everything that it uses has a fingerprint:
    it is compiled again if a global has another value, or a helper another code.

    It checks the bounds of arrays, so that a mistake, or a saved state that was tampered with, raises an
    ``IndexError``. This costs up to a fifth of a step's time in the environment.

    :param name: its name in errors
    :param function: the function; of a function with ``numba.njit``, what is inside
    :param signature: numba's signature
    :return: numba's dispatcher
    :raises ValueError: if it does not compile
    """
    try:
        dispatcher = _dispatcher(getattr(function, "py_func", function))
        with without_warnings():
            dispatcher.compile(signature)
    # numba raises TypeError for a wrong number of arguments
    except (NumbaError, UnsupportedBytecodeError, TypeError) as error:
        raise ValueError(f"{name} does not compile: {_reason(error)}. Expected {FORMS[name]}.") from error
    if dispatcher.nopython_signatures[0] != signature:
        raise ValueError(f"{name} never returns, since it always raises an error. Expected {FORMS[name]}.")
    dispatcher.disable_compile()
    return dispatcher


def check_return_type(env: CompiledEnv) -> None:
    """Check what ``step`` returns before numba converts it: a number and a boolean.

    :param env: the environment
    :raises ValueError: if it returns something else
    """
    dispatcher = _dispatcher(getattr(env.step, "py_func", env.step))
    arguments = signatures_of(env)["step"].args
    with without_warnings():
        dispatcher.compile(arguments)
    reward, terminated = dispatcher.overloads[arguments].signature.return_type
    if not isinstance(terminated, types.Boolean) or isinstance(reward, types.Boolean):
        raise ValueError(f"step returns ({reward}, {terminated}): (reward, terminated) must be a number and a boolean")


def in_typed_list(functions: tuple[Any, ...], signatures: Sequence[Any]) -> Any:
    """Put compiled functions into a typed list with their tuple as its only item.

    :param functions: numba's dispatchers
    :param signatures: the signatures for which they were compiled
    """
    with without_warnings():
        return _list_maker(types.Tuple([types.FunctionType(signature) for signature in signatures]))(functions)


_filters = threading.RLock()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence numba's warnings that first-class functions are experimental, and that large tables are not cached."""
    # filters belong to all threads: one that ends first would restore those of before for the others
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)
        warnings.filterwarnings("ignore", "Cannot cache compiled function", NumbaWarning)
        yield


_fingerprints: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()
"""of the helpers that were compiled, by their dispatcher; ``None`` if they have none"""


def _recompile_outdated(function: FunctionType) -> None:
    """Compile helpers again whose globals may have changed: numba would link the machine code that it has of them."""
    for helper in helpers(function):
        current = None
        with suppress(NoFingerprintError):
            current = fingerprint(helper.py_func)
        if helper.overloads and (current is None or _fingerprints.get(helper) != current):
            helper.recompile()
        _fingerprints[helper] = current


def _dispatcher(function: Function) -> Any:
    if isinstance(function, FunctionType):
        _recompile_outdated(function)
        # numba raises RuntimeError for functions that no file has, next to which it could cache
        with suppress(NoFingerprintError, RuntimeError):
            return numba.njit(nogil=True, error_model="numpy", boundscheck=True, cache=True)(_for_cache(function))
    return numba.njit(nogil=True, error_model="numpy", boundscheck=True)(function)


def _for_cache(function: FunctionType) -> FunctionType:
    """Copy a function under a name that tells what it uses: numba finds machine code on disk by the name."""
    if any(is_jitted(cell.cell_contents) for cell in function.__closure__ or ()):
        # numba gives them another key in every process, so the cache would only grow
        raise NoFingerprintError(function.__qualname__)
    code, name = function.__code__, function.__name__
    copy = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    copy.__qualname__ = f"{function.__qualname__}-{fingerprint(function)}"
    return copy


def _reason(error: Exception) -> str:
    """Return numba's reason as one line, without places in numba and in the code."""
    lines = [NUMBA_PREFIX.sub("", line).strip() for line in str(error).splitlines()]
    specific = NUMBA_CAUSE.search(" ".join(lines))
    if specific is not None:
        return f"{specific['cause']}, in {specific['call']}"
    reason = NUMBA_PLACE.split(" ".join(filter(None, lines)))[0].strip(" .")
    return f"{reason}, so decorate it with numba.njit" if "<class 'function'>" in reason else reason


def _copy(state: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = state[i]


def _in_list(functions: Any) -> Any:
    items = numba.typed.List()
    items.append(functions)
    return items


@functools.cache
def _list_maker(functions_type: Any) -> Any:
    return numba.njit(types.ListType(functions_type)(functions_type), cache=True)(_in_list)


def load(kernel: Any, *arguments: Any) -> None:
    """Compile a kernel for the types of arguments, or load it from disk.

    :param kernel: numba's dispatcher
    :param arguments: the arguments
    """
    with without_warnings():
        kernel.compile(tuple(map(numba.typeof, arguments)))
