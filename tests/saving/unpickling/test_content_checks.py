"""Pickles of objects that would keep code busy forever."""

import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sb3_a2c_td.saving import UnreadableCheckpointError, restricted_loads
from tests.saving.pickles import Named, Reduced, array_with, dumps


def pairs(pair: bytes, levels: int = 60) -> bytes:
    """A pickle of pairs of pairs of pairs ..., which would not fit into any memory if written out."""
    begin = dumps("ha")[:-1]
    return begin + b"".join(pair % (i, i) + pickle.MEMOIZE for i in range(levels))


LISTS = b"](h%ch%ce"
TUPLES = b"h%ch%c\x86"


@pytest.mark.parametrize("pair", [LISTS, TUPLES], ids=["lists", "tuples"])
def test_pairs_of_pairs_are_refused(pair: bytes) -> None:
    with pytest.raises(UnreadableCheckpointError, match="much larger"):
        restricted_loads(pairs(pair) + b".")


@pytest.mark.parametrize("insert", [b"}h\x3cNs", b"\x8f(h\x3c\x90", b"(h\x3c\x91"], ids=["dict", "set", "frozenset"])
def test_pairs_of_pairs_are_not_hashed(insert: bytes) -> None:
    with pytest.raises(UnreadableCheckpointError, match="a key that is not a scalar"):
        restricted_loads(pairs(TUPLES) + insert + b".")


def test_copies_of_arrays_are_counted() -> None:
    """Thousands of arrays of the same bytes."""
    content = b"1234" * 50_000
    arrays = [array_with((1, (50_000,), np.dtype("f4"), False, content)) for _ in range(1000)]
    with pytest.raises(UnreadableCheckpointError, match="much larger than its pickle"):
        restricted_loads(dumps(arrays))


def test_long_texts_are_counted() -> None:
    with pytest.raises(UnreadableCheckpointError, match="much larger"):
        restricted_loads(dumps(["x" * 100_000] * 1000))


@pytest.mark.parametrize("kind", [Named("pathlib", "PosixPath"), Decimal])
def test_copies_of_texts_are_counted(kind: Any) -> None:
    text = "1" * 9_000
    with pytest.raises(UnreadableCheckpointError, match="much larger than its pickle"):
        restricted_loads(dumps([Reduced(kind, (text,)) for _ in range(1000)]))


def test_an_object_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append({"a": (endless,)})
    with pytest.raises(UnreadableCheckpointError, match="lies in itself"):
        restricted_loads(pickle.dumps(endless))


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [(b"]", b"a"), (b"", b"\x85")], ids=["lists", "tuples"])
def test_deeply_nested_objects_are_refused(begin: bytes, end: bytes, depth: int) -> None:
    with pytest.raises(UnreadableCheckpointError, match="too deep"):
        restricted_loads(b"\x80\x04" + begin * depth + b"]" + end * depth + b".")


MODULUS = 2**61 - 1
"""integers that differ by a multiple of it have the same hash"""


def test_keys_cannot_all_have_the_same_hash() -> None:
    for keys in (
        [MODULUS * i for i in range(5_000)],
        [(i,) for i in range(0, 5_000 * MODULUS, MODULUS)],
        [complex(-1_000_003.0 * i, i) for i in range(5_000)],
    ):
        assert len(set(map(hash, keys))) < 10
        with pytest.raises(UnreadableCheckpointError, match="too many keys with the same hash"):
            restricted_loads(pickle.dumps(dict.fromkeys(keys)))
        with pytest.raises(UnreadableCheckpointError, match="too many keys with the same hash"):
            restricted_loads(pickle.dumps(set(keys)))


def test_honest_keys_are_many() -> None:
    for keys in (
        list(range(30_000)),
        list(map(str, range(30_000))),
        [(i, j) for i in range(-50, 50) for j in range(300)],
    ):
        assert len(restricted_loads(pickle.dumps(dict.fromkeys(keys)))) == 30_000


def test_keys_are_not_huge_integers() -> None:
    """Hashing one takes time in proportion to its length, again and again."""
    for key in (1 << 10_000, (1, 1 << 10_000)):
        with pytest.raises(UnreadableCheckpointError, match="a key that is a huge integer"):
            restricted_loads(pickle.dumps({key: 1}))


def test_long_keys_are_counted() -> None:
    """One tuple of 10,000 numbers, which is hashed 10,000 times."""
    key = tuple(range(10_000))
    with pytest.raises(UnreadableCheckpointError, match="much larger than its pickle"):
        restricted_loads(pickle.dumps([{key: 1} for _ in range(10_000)]))
