"""The format of objects' states, and the rules that separate it from code and files.

========== ===========================================================================================
kind       content
========== ===========================================================================================
plain      a number, a string, ``None``
left alone the name of a function, class or file, which are not state; ``None`` for the excluded object
same       ``None``: the object was read before, under the same number
member     the name of an enum's member
method     the method's name, and the state of its object
path       a path as a string
array      a copy of an array
view       the state of the base, the offset in bytes, shape and strides
text       dtype, shape and bytes of an array of strings
generator  the state of a ``numpy.random.Generator``; likewise random_state and random
dict       the class, and the states of the values by their keys
items      the class, the states of the items, and the maximum length of a deque
object     the class, and the states of the attributes
========== ===========================================================================================
"""

import copyreg
import csv
import io
import struct
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import VecEnvWrapper

from sb3_a2c_td.compiled.batch import EnvBatch
from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.vec_env.episode_statistics import EpisodeStatistics
from sb3_a2c_td.vec_env.normalization import ModelVecNormalize

State = tuple[str, Any, int]
"""the kind of an object, its content, and its number, by which other states refer to it (-1 if none can)"""

NOTHING = object()
"""stands for a missing object"""

SCALARS = frozenset({NoneType, bool, int, float, complex, str, bytes})
NUMBERS = "?bBhHiIlLqQefdFD"
"""numpy's types of numbers that are the same on every machine"""
TEXT = "SU"
"""numpy's types of strings"""

# parts of the definition of an environment, not of its state; a new environment has the same
CODE = (type, FunctionType, BuiltinFunctionType, ModuleType, EnvSpec, CompiledEnv, np.dtype)
OUTPUTS = (io.IOBase, ResultsWriter, csv.DictWriter)

NO_STATE: dict[type, tuple[str, ...]] = {
    # the history of all episodes grows forever, and nothing reads it while training
    Monitor: ("episode_returns", "episode_lengths", "episode_times"),
    # a list of the attributes of the class
    VecEnvWrapper: ("class_attributes",),
    ModelVecNormalize: ("_is_collecting",),
    # reading an environment's spec writes it
    gym.Wrapper: ("_cached_spec",),
}
"""attributes that are left alone, by the class that has them"""
ALL_STATE: dict[type, tuple[str, ...]] = {
    CompiledVecEnv: ("_batch", "statistics"),
    EnvBatch: ("states", "n_steps", "generators", "n_moves"),
    EpisodeStatistics: ("returns", "_first_steps", "_n_steps", "_start_time"),
}
"""the only attributes that are not left alone, by the class that has them; compiled code uses these objects without
checks, so each must keep its shape, dtype and place in memory"""

OUTSIDE = frozenset({"asyncio", "concurrent", "ctypes", "mmap", "multiprocessing", "socket", "subprocess", "threading"})
"""modules whose objects refer to something outside of Python, whatever attributes they have"""

POINTER = struct.calcsize("P")


class CannotRestoreError(ValueError):
    """The state of an environment cannot be read, or an environment cannot be put into a state.

    :param where: the attribute, as a path that starts at the environments
    :param reason: the reason, as the rest of the sentence
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} {reason}")


def class_name(thing: object) -> str:
    """Return the name of an object's class.

    :param thing: the object
    """
    return type(thing).__name__


def qualified_name(thing: Any) -> str:
    """Return the qualified name of a function or class, or of the class of any other object.

    :param thing: the object
    """
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def is_left_alone(thing: Any) -> bool:
    """Check whether an object is code or a file, which are neither read nor written.

    :param thing: the object
    """
    if isinstance(thing, BuiltinFunctionType):
        # methods of objects such as random.Random(3).random are builtins too
        return isinstance(thing.__self__, ModuleType | NoneType)
    if isinstance(thing, io.BytesIO | io.StringIO):
        return False
    return isinstance(thing, CODE + OUTPUTS)


def is_outside(thing: Any) -> bool:
    """Check whether an object refers to something outside of Python.

    :param thing: the object
    """
    return getattr(type(thing), "__module__", "").split(".")[0] in OUTSIDE


def attributes_of(thing: Any, where: str) -> dict[str, Any]:
    """Return the attributes that make up an object.

    :param thing: the object
    :param where: its path in errors
    :raises CannotRestoreError: if it consists of more than its attributes
    """
    kind = type(thing)
    is_subclass = kind not in ALL_STATE and isinstance(thing, tuple(ALL_STATE))
    if is_subclass or not _consists_of_attributes(kind) or is_outside(thing):
        raise CannotRestoreError(where, f"is of {kind}, whose state cannot be read")
    state = object.__getstate__(thing)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    both = {**(attributes or {}), **(slots or {})}
    if kind in ALL_STATE:
        return {name: both[name] for name in ALL_STATE[kind]}
    no_state = {name for base, names in NO_STATE.items() if isinstance(thing, base) for name in names}
    return {key: value for key, value in both.items() if key not in no_state}


def _consists_of_attributes(kind: type) -> bool:
    """Check whether instances have no memory besides their attributes, as Python's ``copyreg`` does before pickling."""
    if any("__reduce__" in vars(base) or "__reduce_ex__" in vars(base) for base in kind.__mro__[:-1]):
        return False
    n_slots = len(copyreg._slotnames(kind))  # type: ignore[attr-defined]
    n_pointers = n_slots + (1 if kind.__dictoffset__ > 0 else 0) + (1 if kind.__weakrefoffset__ > 0 else 0)
    return kind.__itemsize__ == 0 and kind.__basicsize__ <= object.__basicsize__ + n_pointers * POINTER
