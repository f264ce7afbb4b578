"""Objects whose state cannot be read."""

import itertools
import random
from collections.abc import Callable
from enum import Flag
from functools import partial
from io import BytesIO
from mmap import mmap
from typing import Any

import numpy as np
import pytest

from sb3_a2c_td.saving.object_states import CannotRestoreError, Reader
from tests.saving.object_states.things import Color, Thing


class Sides(Flag):
    LEFT = 1
    RIGHT = 2


def spawned() -> np.random.Generator:
    generator = np.random.default_rng(0)
    generator.spawn(1)
    return generator


def two_of_one_memory() -> list[np.ndarray]:
    memory = bytearray(16)
    return [np.frombuffer(memory, count=1), np.frombuffer(memory)]


class Reduces(Thing):
    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Thing, ()


@pytest.mark.parametrize(
    "value",
    [
        itertools.count(),
        iter([1]),
        (i for i in range(3)),
        memoryview(b"a"),
        Reduces(),
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
        np.longdouble(1),
        {Color.RED: 1},
        {("a", Thing()): 1},
        type("Number", (int,), {})(3),
        # order, state and members that would not come back
        {1, 2},
        frozenset("ab"),
        partial(Thing, a=1),
        Sides.LEFT | Sides.RIGHT,
        np.ma.masked_array([1, 2], mask=[True, False]),
        spawned(),
        np.frombuffer(mmap(-1, 8)),
        two_of_one_memory(),
        np.broadcast_to(np.zeros(1), 5),
        np.zeros(2).view(np.int64),
        random.Random(3).random,
        BytesIO(b"abc"),
    ],
)
def test_objects_with_more_than_attributes_cannot_be_read(value: Any) -> None:
    with pytest.raises(CannotRestoreError, match=r"^thing\.list\[0\]"):
        Reader().read(Thing(list=[value]), "thing")


@pytest.mark.parametrize("make", [partial(np.empty, dtype=np.uint8), bytes, "a".__mul__])
def test_large_data_sets_cannot_be_read(make: Callable[[int], Any]) -> None:
    with pytest.raises(CannotRestoreError, match=r"^thing\.data is where the state grows beyond 64 MiB"):
        Reader().read(Thing(data=make(2**26)), "thing")
