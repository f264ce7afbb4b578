"""A fingerprint changes with everything that numba compiles into a function."""

import math
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from sb3_a2c_td.compiled.fingerprints import NoFingerprintError, fingerprint

SOURCE = """
@numba.njit
def helper(x, power=POWER):
    return OFFSET + math.pi * x ** power

def make(closed):
    def step(state, action, rng):
        def inner(x):
            return SCALE * x
        return inner(helper(state[0])) + settings.REWARD + closed + TABLE[0] + np.sum(state), UNKNOWN is None
    return step

step = make(CLOSED)
"""
VALUES = {
    "POWER": 1,
    "OFFSET": 1.0,
    "SCALE": (1, 2.0),
    "REWARD": 1.0,
    "CLOSED": 1,
    "TABLE": np.arange(3),
    "UNKNOWN": None,
}


def fingerprint_with(source: str = SOURCE, **values: Any) -> str:
    settings = ModuleType("settings")
    namespace = {"numba": numba, "np": np, "math": math, "settings": settings, **VALUES, **values}
    settings.REWARD = namespace.pop("REWARD")
    exec(source, namespace)
    return fingerprint(namespace["step"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POWER", 2),
        ("OFFSET", 2.0),
        ("OFFSET", 1),
        ("OFFSET", np.float32(1.0)),
        ("SCALE", (1, 3.0)),
        ("REWARD", 2.0),
        ("CLOSED", 2),
        ("TABLE", np.array([0, 1, 3])),
        ("TABLE", np.arange(3.0)),
        ("UNKNOWN", False),
    ],
)
def test_another_value_changes_it(name: str, value: Any) -> None:
    assert fingerprint_with(**{name: value}) != fingerprint_with()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("OFFSET + math", "OFFSET - math"),
        ("pi * x", "pi * 2 * x"),
        ("math.pi", "math.e"),
        ("njit", "njit(fastmath=1)"),
        ("TABLE[0]", "TABLE[1]"),
        ("SCALE * x", "SCALE * -x"),
        ("np.sum", "np.max"),
    ],
)
def test_another_code_changes_it(old: str, new: str) -> None:
    assert fingerprint_with(SOURCE.replace(old, new)) != fingerprint_with()


def test_the_same_values_give_the_same_one() -> None:
    assert fingerprint_with(TABLE=np.arange(3), SCALE=(1, 2.0)) == fingerprint_with(UNUSED=object())


@pytest.mark.parametrize("value", [object(), {"a": 1}, [1], lambda: 1])
def test_values_of_unknown_content_have_none(value: Any) -> None:
    with pytest.raises(NoFingerprintError, match="UNKNOWN"):
        fingerprint_with(UNKNOWN=value)


def test_helpers_that_call_each_other_have_one() -> None:
    source = """
@numba.njit
def even(n):
    return n == 0 or odd(n - 1)

@numba.njit
def odd(n):
    return n != START and even(n - 1)

def step(state, action, rng):
    return 1.0, even(action)
"""
    assert fingerprint_with(source, START=0) != fingerprint_with(source, START=1)
