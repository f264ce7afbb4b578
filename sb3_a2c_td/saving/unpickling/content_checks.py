"""Checks of an unpickled object: only allowed content, and not much larger or deeper than its pickle.

Objects that contain themselves, lie very deep, or hold the same object many times over would keep code busy forever
that prints, compares or copies them.
"""

import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePath
from types import NoneType
from typing import Any, cast

import numpy as np
import torch as th
from numpy.random import PCG64, SeedSequence

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.errors import NotAllowedError, require
from sb3_a2c_td.saving.unpickling.allowed_types import TRANSITIONS
from sb3_a2c_td.saving.unpickling.pickled_states import ATTRIBUTES, check_attributes
from sb3_a2c_td.saving.unpickling.tokens import Token

MAX_DEPTH = 300
"""maximum nesting"""
MAX_GROWTH = 20
"""maximum size of an object, in multiples of its pickle's; content that it holds twice counts twice"""
SLACK = 5_000_000
"""bytes that an object may have beyond that"""

STORAGE_SIZE = 1_000
"""bytes that a tensor's storage takes besides its numbers; reading one takes as long as making many other objects"""

GENERATOR_SIZE = 1_000
"""bytes that a random number generator takes; making one takes as long as making many other objects"""

SCALARS = frozenset({NoneType, bool, int, float, complex, str, bytes})
SEQUENCES = (list, tuple, *TRANSITIONS, deque, set, frozenset)
LEAVES = (
    type,
    th.dtype,
    th.device,
    th.Tensor,
    th.TypedStorage,
    np.dtype,
    np.generic,
    np.ndarray,
    np.random.Generator,
    PCG64,
    SeedSequence,
    TransitionBuffer,
    bytearray,
    date,
    time,
    timedelta,
    timezone,
    Decimal,
    PurePath,
)
"""objects whose content was checked when they were created"""


def max_size(n_bytes: int) -> int:
    """Return the maximum size of an object.

    :param n_bytes: the length of its pickle and of everything that belongs to it
    """
    return MAX_GROWTH * n_bytes + SLACK


def check_content(thing: Any, n_bytes: int) -> None:
    """Check an unpickled object and everything in it.

    :param thing: the object
    :param n_bytes: the number of bytes that it was read from
    :raises NotAllowedError: if it holds something that may only be called, or instances with unknown attributes
    :raises ValueError: if it is nested too deeply, or much larger than its bytes
    """
    size, _ = _measure(thing, {}, 0)
    require(size <= max_size(n_bytes), "it is much larger than its bytes")


def _measure(thing: Any, known: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Return the size and the height of an object.

    :param known: the size and the height of objects measured before, by identity
    :param depth: the nesting of the object in the outermost one
    """
    if id(thing) in known:
        return known[id(thing)]
    items = _items(thing)
    if items is None:
        size_and_height = own_size(thing), 0
        if type(thing) not in SCALARS:
            # texts of some may take long to make
            known[id(thing)] = size_and_height
        return size_and_height
    # until it is measured: an object that contains itself comes out too high
    known[id(thing)] = 0, MAX_DEPTH
    size, height = 1, 0
    for item in items:
        require(depth < MAX_DEPTH, "it is nested too deep")
        item_size, item_height = _measure(item, known, depth + 1)
        size, height = size + item_size, max(height, item_height + 1)
    require(height <= MAX_DEPTH, "it is nested too deep, or lies in itself")
    known[id(thing)] = size, height
    return size, height


def _items(thing: Any) -> Iterable[Any] | None:
    """Return the content of a container, or ``None`` for anything else."""
    kind = type(thing)
    if kind in SCALARS:
        return None
    if kind in SEQUENCES:
        return cast(Iterable[Any], thing)
    if kind in (dict, OrderedDict):
        return [*thing, *thing.values()]
    if kind in ATTRIBUTES:
        check_attributes(thing)
        return list(vars(thing).values())
    if isinstance(thing, LEAVES) and not isinstance(thing, Token):
        return None
    raise NotAllowedError(f"{described(thing)} itself")


def own_size(thing: Any) -> int:
    """Return the approximate size of an object in bytes, without its content.

    :param thing: the object
    """
    if isinstance(thing, str | bytes | bytearray):
        return 1 + len(thing)
    if isinstance(thing, PurePath | Decimal):
        return 1 + len(str(thing))
    if isinstance(thing, TransitionBuffer):
        return 1 if len(thing) == 0 else _measure(thing.transitions(), {}, 0)[0]
    if isinstance(thing, th.TypedStorage):
        # its own nbytes() is deprecated, and warns
        return STORAGE_SIZE + int(thing._untyped_storage.nbytes())
    if isinstance(thing, np.random.Generator | PCG64 | SeedSequence):
        return GENERATOR_SIZE
    if isinstance(thing, deque):
        # it has room for some items at once
        return sys.getsizeof(thing)
    if isinstance(thing, np.ndarray | np.generic | th.Tensor):
        return int(getattr(thing, "nbytes", 1))
    return 1


def described(thing: Any) -> str:
    """Describe an object in an error: functions and classes by name, others by their class.

    :param thing: the object
    """
    if isinstance(thing, Token):
        return str(thing)
    if isinstance(thing, type):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"a {type(thing).__name__}"
