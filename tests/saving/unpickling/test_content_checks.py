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
    begin = dumps("ha")[:-1] + pickle.MEMOIZE
    return begin + b"".join(pair % (i, i) + pickle.MEMOIZE for i in range(1, levels + 1))


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


def test_keys_cannot_all_have_the_same_hash() -> None:
    modulus = 2**61 - 1
    with pytest.raises(UnreadableCheckpointError, match="too many keys"):
        restricted_loads(pickle.dumps({modulus * i: None for i in range(100)} | dict.fromkeys(range(20_000))))
    assert len(restricted_loads(pickle.dumps({str(i): None for i in range(20_000)}))) == 20_000
