"""The time and memory that the pickles of one file may take together."""

from types import NoneType
from typing import Any

import numpy as np

from sb3_a2c_td.saving.errors import require
from sb3_a2c_td.saving.unpickling.content_checks import SCALARS, max_size

MAX_KEY_BITS = 1024
"""maximum size of an integer in a key: hashing takes time in proportion to it"""
MAX_COLLISIONS = 2**10
"""maximum number of keys whose hash another key has. With well-chosen numbers, all could have the same one"""
DISTINCT_BITS = 60
"""up to this size, no two integers have the same hash, except for -1 and -2"""

WELL_HASHED = frozenset({str, bytes, bool, NoneType, float})
"""types of keys of which few can have the same hash"""


class Budget:
    """Counts what the pickles of one file cost, so that many small ones cannot do what a large one must not.

    :param n_bytes: the number of bytes in all of them
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes_left = max_size(n_bytes)
        self._n_collisions = 0
        self._key_by_hash: dict[int, Any] = {}

    def spend(self, n_bytes: int) -> None:
        """Count the bytes of a new object: a pickle can ask for copies of the same bytes again and again.

        :param n_bytes: its size
        :raises ValueError: if all objects together are much larger than their pickles
        """
        self._n_bytes_left -= n_bytes
        require(self._n_bytes_left >= 0, "it is much larger than its pickle")

    def check_keys(self, keys: list[Any]) -> None:
        """Check keys before they are hashed, which could take forever.

        :param keys: keys of a dict, or members of a set
        :raises ValueError: if one is more than a tuple of scalars, is huge, or has the hash of many others
        """
        for key in keys:
            if type(key) not in WELL_HASHED and not (type(key) is int and key.bit_length() <= DISTINCT_BITS):
                self._check_key(key)

    def _check_key(self, key: Any) -> None:
        parts = key if type(key) is tuple else (key,)
        self.spend(len(parts))
        for part in parts:
            require(type(part) in SCALARS or isinstance(part, np.generic), "a key that is not a scalar")
            require(type(part) is not int or part.bit_length() <= MAX_KEY_BITS, "a key that is a huge integer")
        first = self._key_by_hash.setdefault(hash(key), key)
        if first is not key and first != key:
            self._n_collisions += 1
            require(self._n_collisions <= MAX_COLLISIONS, "too many keys with the same hash")
