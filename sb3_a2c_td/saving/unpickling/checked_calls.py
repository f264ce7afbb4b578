"""The functions that run in place of those that a pickle calls.

Each checks its arguments, which may be anything. They raise :class:`~sb3_a2c_td.saving.errors.NotAllowedError` for
arguments that ask for more than numbers and text, and ``ValueError``, ``TypeError`` or the like for arguments that no
intact pickle has.
"""

import math
import pickle
import pickletools
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import NoneType
from typing import Any

import numpy as np
import torch as th
from numpy.random import PCG64, SeedSequence

from sb3_a2c_td.rollout.observations import map_arrays
from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.errors import NotAllowedError, require
from sb3_a2c_td.saving.unpickling.tokens import Token

NDARRAY = Token("numpy", "ndarray")
PCG64_NAME = Token("numpy.random._pcg64", "PCG64")
SEED_SEQUENCE = Token("numpy.random.bit_generator", "SeedSequence")

NUMPY_NUMBERS = re.compile("b1|[iu][1248]|f[248]|c8|c16")
MAX_DIMENSIONS = 64
MAX_INSTRUCTIONS = 200
"""maximum number of instructions for a tensor's storage in PyTorch's format; it needs about 60"""
ZONES = (timezone, NoneType)
MAX_ZONE_NAME = 100
MAX_EXPONENT = 10_000
PATHS = {
    "PosixPath": PurePosixPath,
    "PurePosixPath": PurePosixPath,
    "WindowsPath": PureWindowsPath,
    "PureWindowsPath": PureWindowsPath,
}
"""the classes of paths, those that can be opened replaced by those that cannot"""


def blank(kind: type) -> Callable[[], Any]:
    """Return a function that creates an instance without attributes, which the pickle's state then fills.

    :param kind: the class, whose own constructor is not called
    """
    return partial(object.__new__, kind)


# Containers


def make_deque(items: tuple[()] = (), maxlen: int | None = None) -> deque[Any]:
    """Create an empty deque."""
    require(items == () and type(maxlen) in (int, NoneType), "a deque that is not empty")
    return deque(maxlen=maxlen)


def make_ordered_dict() -> OrderedDict[Any, Any]:
    """Create an empty ordered dict."""
    return OrderedDict()


def make_buffer() -> TransitionBuffer:
    """Create an empty buffer."""
    return TransitionBuffer(capacity=0)


def make_transitions(kind: type[Any]) -> Callable[..., Any]:
    """Return a function that creates transitions from arrays, or from dicts of arrays.

    :param kind: the class of the transitions
    """

    def transitions(*arrays: Any) -> Any:
        for array in arrays:
            map_arrays(_check_is_array, array)
        return kind(*arrays)

    return transitions


def _check_is_array(array: Any) -> None:
    require(isinstance(array, np.ndarray), "transitions that are not arrays")


# Numbers


def make_complex(real: float, imaginary: float) -> complex:
    """Create a complex number."""
    require(type(real) is float and type(imaginary) is float, "a complex number of other things than numbers")
    return complex(real, imaginary)


def make_dtype(kind: str, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    """Create a dtype of numbers.

    numpy would interpret the bytes of arrays of objects as pointers, and does not check those of strings.
    """
    if type(kind) is not str:
        raise NotAllowedError("numpy.dtype")
    if not NUMPY_NUMBERS.fullmatch(kind):
        raise NotAllowedError(f"numpy.dtype({kind[:20]!r})")
    return np.dtype(kind, copy=True)


def make_number(dtype: np.dtype[Any], content: bytes) -> Any:
    """Create one of numpy's numbers."""
    check_array(content, dtype, ())
    return np.frombuffer(content, dtype)[0]


def make_array(
    buffer: bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str, axes: Any = None
) -> np.ndarray:
    """Create an array from its bytes, as pickles of protocol 5 do."""
    check_array(buffer, dtype, shape)
    array = np.frombuffer(buffer, dtype)
    if order == "K" and axes is not None:
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order="F" if order == "F" else "C")


def make_empty_array(kind: Token, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """Create an array that a state will fill, as older pickles do."""
    require(kind == NDARRAY and shape == (0,) and code == b"b", "an array that is not empty")
    return np.empty(0, np.int8)


def check_array(content: Any, dtype: Any, shape: Any) -> None:
    """Check that these bytes are exactly an array of this dtype and shape.

    :raises ValueError: if they are not
    """
    require(type(content) in (bytes, bytearray) and isinstance(dtype, np.dtype), "an array without bytes or dtype")
    require(type(shape) is tuple and len(shape) <= MAX_DIMENSIONS, "a shape of no array")
    require(all(type(n) is int and 0 <= n < 2**32 for n in shape), "a shape of no array")
    require(math.prod(shape) * dtype.itemsize == len(content), "an array of another size than its bytes")
    if dtype.kind == "b":
        # numpy counts booleans by adding up their bytes
        require(np.frombuffer(content, np.uint8).max(initial=0) <= 1, "booleans other than 0 and 1")


# Dates, decimals and paths. Their own constructors check the fields, which unpickling by Python does not.


def make_date(state: bytes) -> date:
    """Create a date from year (two bytes), month and day."""
    require(type(state) is bytes and len(state) == 4, "a date without its bytes")
    return date(int.from_bytes(state[:2], "big"), state[2], state[3])


def make_datetime(state: bytes, zone: timezone | None = None) -> datetime:
    """Create a date and time from its bytes; the month's first bit is the fold, the last three are microseconds."""
    require(type(state) is bytes and len(state) == 10 and type(zone) in ZONES, "a date without its bytes")
    fold, month = divmod(state[2], 2**7)
    day, hour, minute, second = state[3:7]
    year, microsecond = int.from_bytes(state[:2], "big"), int.from_bytes(state[7:], "big")
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def make_time(state: bytes, zone: timezone | None = None) -> time:
    """Create a time from its bytes; the hour's first bit is the fold, the last three are microseconds."""
    require(type(state) is bytes and len(state) == 6 and type(zone) in ZONES, "a time without its bytes")
    fold, hour = divmod(state[0], 2**7)
    minute, second, microsecond = state[1], state[2], int.from_bytes(state[3:], "big")
    return time(hour, minute, second, microsecond, zone, fold=fold)


def make_timedelta(days: int, seconds: int, microseconds: int) -> timedelta:
    """Create a duration."""
    require(all(type(n) is int for n in (days, seconds, microseconds)), "a duration of other things than integers")
    return timedelta(days, seconds, microseconds)


def make_timezone(offset: timedelta, name: str = "") -> timezone:
    """Create a time zone with a fixed offset; others are read from files."""
    require(type(offset) is timedelta, "a time zone without an offset")
    require(type(name) is str and len(name) <= MAX_ZONE_NAME, "a time zone without a short name")
    return timezone(offset, name) if name else timezone(offset)


def make_decimal(digits: str) -> Decimal:
    """Create a decimal. With a huge exponent, converting it to an integer would fill the memory."""
    require(type(digits) is str, "a decimal without digits")
    decimal = Decimal(digits)
    require(not decimal.is_snan() and abs(decimal.adjusted()) <= MAX_EXPONENT, "a decimal with a huge exponent")
    return decimal


def make_path(name: str) -> Callable[..., PurePath]:
    """Return a function that creates a path from its parts.

    :param name: the path's class; a path of another operating system can be created, but not opened
    """

    def path(*parts: str) -> PurePath:
        require(all(type(part) is str for part in parts), "a path of other things than strings")
        return kind(*parts)

    kind = type(Path()) if name == type(Path()).__name__ else PATHS[name]
    return path


# Random number generators


def make_bit_generator(kind: Any = "MT19937") -> PCG64:
    """Create a PCG64, as gymnasium does; others have states with indices that numpy does not check."""
    if kind not in ("PCG64", PCG64_NAME):
        raise NotAllowedError("a random number generator other than numpy.random.PCG64")
    return PCG64(0)


def make_generator(bit_generator: Any, constructor: Any = None) -> np.random.Generator:
    """Create a generator from a bit generator, or from the name of one."""
    if isinstance(bit_generator, PCG64):
        return np.random.Generator(bit_generator)
    return np.random.Generator(make_bit_generator(bit_generator))


def make_seed_sequence(kind: Token, checksum: int, state: None) -> SeedSequence:
    """Create a seed sequence that a state will fill."""
    require(kind == SEED_SEQUENCE and state is None, "a seed with a state")
    return SeedSequence(0)


# Tensors


def make_device(kind: str, index: int | None = None) -> th.device:
    """Create a device."""
    require(type(kind) is str and type(index) in (int, NoneType), "a device without a name")
    return th.device(kind) if index is None else th.device(kind, index)


def make_storage(content: bytes) -> th.TypedStorage:
    """Read a tensor's numbers from PyTorch's format without a zip, which could expand to far more than its bytes."""
    require(type(content) is bytes and content.startswith(b"\x80\x02"), "a tensor without bytes")
    stream = BytesIO(content)
    # the format is five pickles in a row; reading one takes time in proportion to its length if it repeats nothing
    instructions = chain.from_iterable(pickletools.genops(stream) for _ in range(5))
    for n_before, (instruction, *_) in enumerate(instructions):
        require("GET" not in instruction.name, "a tensor named twice")
        require(n_before < MAX_INSTRUCTIONS, "a tensor with more than numbers")
    try:
        storage: th.TypedStorage = th.load(BytesIO(content), "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise NotAllowedError("a tensor that holds more than numbers") from None
    require(type(storage) is th.TypedStorage, "a tensor without numbers")
    return storage


def make_tensor(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any) -> th.Tensor:
    """Create a tensor on a storage, within its bounds."""
    require(type(storage) is th.TypedStorage and type(hooks) is OrderedDict and not hooks, "a tensor with hooks")
    check_view(storage._untyped_storage.nbytes() // storage.dtype.itemsize, offset, size, stride)
    tensor: th.Tensor = th._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad is True, hooks)
    return tensor


def check_view(n_numbers: int, offset: Any, size: Any, stride: Any) -> None:
    """Check that a tensor lies within its storage and is not larger; PyTorch would enlarge the storage.

    :param n_numbers: how many numbers the storage has
    :raises ValueError: if it does not
    """
    require(type(size) is tuple and type(stride) is tuple, "a tensor without a shape")
    require(len(size) == len(stride) <= MAX_DIMENSIONS, "a tensor without a shape")
    require(all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride)), "a tensor without a shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    is_within = offset <= n_numbers if 0 in size else last < n_numbers
    require(is_within and math.prod(size) <= n_numbers, "a tensor larger than its numbers")
