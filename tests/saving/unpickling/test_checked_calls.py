"""The arguments of calls and the states of arrays, generators, transitions and tensors are checked."""

import pickle
from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from numpy.random import _pickle as numpy_pickle
from torch import nn

from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions
from sb3_a2c_td.saving import UnreadableCheckpointError, UntrustedCheckpointError, restricted_loads
from tests.saving.pickles import Named, Reduced, array_with, dumps
from tests.saving.unpickling.rows import ROWS


def frombuffer(*arguments: Any) -> Reduced:
    return Reduced(Named("numpy._core.numeric", "_frombuffer"), arguments)


def dtype_with(kind: str, *state: Any) -> Reduced:
    return Reduced(np.dtype, (kind, False, True), *state)


F4 = np.dtype("f4")
SEED = np.random.SeedSequence(3)
SEED_CALL, SEED_ARGUMENTS, SEED_STATE = SEED.__reduce__()
LOAD_FROM_BYTES = Named("torch.storage", "_load_from_bytes")
REBUILD_TENSOR = Named("torch._utils", "_rebuild_tensor_v2")
PATH = Named("pathlib", "PosixPath")
BIT_GENERATOR = vars(numpy_pickle)["__bit_generator_ctor"]


BYTES = bytearray(4)
NO_SHAPE = "a shape of no array"
NO_BYTES = "an array without bytes or dtype"
NOT_EMPTY = "an array that is not empty"
RECONSTRUCT = Named("numpy._core.multiarray", "_reconstruct")
SCALAR = Named("numpy._core.multiarray", "scalar")


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (frombuffer(BYTES, F4, (10**10,), "C"), NO_SHAPE),
        (frombuffer(BYTES, F4, (-1,), "C"), NO_SHAPE),
        (frombuffer(BYTES, F4, (1,) * 100, "C"), NO_SHAPE),
        (frombuffer(BYTES, F4, (2,), "C"), "an array of another size than its bytes"),
        (frombuffer(10**10, F4, (1,), "C"), NO_BYTES),
        (frombuffer(np.zeros(1, np.float32), F4, (1,), "C"), NO_BYTES),
        (array_with((1, (10**10,), F4, False, b"1234")), NO_SHAPE),
        (array_with((1, (1,), F4, False, [1.0])), "an array filled twice"),
        (array_with((1, (1,), "f4", False, b"1234")), NO_BYTES),
        (array_with((1, (1,), F4, False, b"1234"), shape=(10**10,)), NOT_EMPTY),
        (Reduced(RECONSTRUCT, (spaces.Box, (0,), b"b")), NOT_EMPTY),
        (Reduced(SCALAR, (F4, b"12345678")), "an array of another size than its bytes"),
        (Reduced(SCALAR, (F4,)), "missing 1 required positional argument"),
        # booleans that numpy would add up
        (frombuffer(bytearray([2]), np.dtype(bool), (1,), "C"), "booleans other than 0 and 1"),
        (array_with((1, (1,), np.dtype(bool), False, b"\xff")), "booleans other than 0 and 1"),
    ],
)
def test_arrays_must_consist_of_their_bytes(thing: Any, message: str) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"a damaged pickle .*{message}"):
        restricted_loads(dumps([thing], protocol=5))


@pytest.mark.parametrize("kind", ["O8", "U4", "M8", "V8", "f4,O8"])
def test_dtypes_of_anything_but_numbers_are_refused(kind: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"asks for numpy.dtype\\('{kind}'\\)"):
        restricted_loads(dumps([dtype_with(kind)]))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((3, "<", None, None, None, 400, 4, 0), "a dtype with more than a byte order"),
        ((3, "<", None, None, None, -1, -1, 63), "a dtype with more than a byte order"),
        ((3, "<", None, ("a",), {"a": (F4, 0)}, 8, 8, 63), "a dtype with more than a byte order"),
        ((3, "<", (F4, (10**10,)), None, None, 4, 4, 0), "a dtype with more than a byte order"),
        ((4, "<", None, None, None, -1, -1, 0, {"metadata": 1}), "a dtype without a byte order"),
    ],
)
def test_states_of_dtypes_are_only_byte_orders(state: Any, message: str) -> None:
    with pytest.raises(UnreadableCheckpointError, match=message):
        restricted_loads(dumps([dtype_with("f4", state)]))


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (dtype_with(nn.Tanh), "numpy.dtype"),
        (Reduced(array_with((1, (1,), F4, False, b"1234")), ()), "a call of a ndarray"),
        # generators with states that numpy does not check
        (np.random.Generator(np.random.MT19937(1)), "numpy.random._mt19937.MT19937"),
        (np.random.Generator(np.random.Philox(1)), "numpy.random._philox.Philox"),
        (np.random.RandomState(1), "numpy.random._pickle.__randomstate_ctor"),
        (Reduced(BIT_GENERATOR, (nn.Tanh,)), "a random number generator other than numpy.random.PCG64"),
    ],
)
def test_other_types_of_numpy_are_refused(thing: Any, message: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"asks for {message}, which"):
        restricted_loads(dumps([thing]))


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        # generators
        (Reduced(BIT_GENERATOR, ("PCG64",), {"bit_generator": "MT19937"}), "KeyError: 'state'"),
        (Reduced(BIT_GENERATOR, ("PCG64",), (np.random.PCG64(1).state, 5)), "a generator without a state"),
        (Reduced(SEED_CALL, (nn.Tanh, *SEED_ARGUMENTS[1:])), "a seed with a state"),
        (Reduced(SEED_CALL, (*SEED_ARGUMENTS[:2], SEED_STATE)), "a seed with a state"),
        (
            Reduced(SEED_CALL, SEED_ARGUMENTS, (*SEED_STATE[:2], np.zeros(1, np.uint32), *SEED_STATE[3:])),
            "a seed without its pool",
        ),
        (Reduced(SEED_CALL, SEED_ARGUMENTS, (*SEED_STATE[:3], 10**10, ())), "a seed without its pool"),
        (Reduced(SEED_CALL, SEED_ARGUMENTS, (1 << 10_000, *SEED_STATE[1:])), "a seed that is not a number"),
        # containers
        (Reduced(deque, ([1, 2],)), "a deque that is not empty"),
        (Reduced(deque, ("text", 3)), "a deque that is not empty"),
        (Reduced(OrderedDict, ([("a", 1)],)), "takes 0 positional arguments but 1 was given"),
        (Reduced(complex, ("1e5",)), "missing 1 required positional argument"),
        (Reduced(complex, ("1e5", 0.0)), "a complex number of other things than numbers"),
        # dates, decimals and paths
        (Reduced(date, (b"\x07\xea\x02\x1e",)), "day is out of range for month"),
        (Reduced(date, (b"\x00\x00\x01\x01",)), "year 0 is out of range"),
        (Reduced(date, (2026, 1, 1)), "takes 1 positional argument but 3 were given"),
        (Reduced(datetime, (b"\x07\xea\x01\x01\xff\x00\x00\x00\x00\x00",)), "hour must be in 0..23"),
        (Reduced(datetime, (b"1234567890", nn.Tanh)), "a date without its bytes"),
        (Reduced(time, (b"\x00\x00\x00\xff\xff\xff",)), "microsecond must be in 0..999999"),
        (Reduced(time, ("123456",)), "a time without its bytes"),
        (Reduced(timedelta, (10**9, 0, 0)), "days=1000000000; must have magnitude"),
        (Reduced(timedelta, (0.5, 0, 0)), "a duration of other things than integers"),
        (Reduced(timezone, (5,)), "a time zone without an offset"),
        (Reduced(timezone, (timedelta(0), "x" * 101)), "a time zone without a short name"),
        (Reduced(Decimal, ((0, (1,), 5),)), "a decimal without digits"),
        (Reduced(Decimal, ("1E+1000000000",)), "a decimal with a huge exponent"),
        (Reduced(Decimal, ("1E-1000000000",)), "a decimal with a huge exponent"),
        (Reduced(Decimal, ("sNaN",)), "a decimal with a huge exponent"),
        (Reduced(PATH, ("a", 5)), "a path of other things than strings"),
        # transitions
        (Reduced(Transitions, (1, 2, 3, 4, 5, 6)), "transitions that are not arrays"),
        (Reduced(Transitions, tuple(ROWS)[:5]), "missing 1 required positional argument"),
        (Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 0, "rows": ROWS}), "a buffer without steps"),
        (Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 1, "rows": [1]}), "a buffer without transitions"),
        (
            Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 1, "rows": ROWS._replace(actions=np.zeros(7))}),
            "transitions: 2 rows of",
        ),
        # tensors
        (Reduced(LOAD_FROM_BYTES, (b"PK\x03\x04",)), "a tensor without bytes"),
        (Reduced(LOAD_FROM_BYTES, (b"\x80\x02]q\x00h\x00\x86.",)), "a tensor named twice"),
        (Reduced(REBUILD_TENSOR, (1, 0, (1,), (1,), False, OrderedDict())), "a tensor with hooks"),
        (Reduced(th.device, (1,)), "a device without a name"),
    ],
)
def test_arguments_and_states_are_checked(thing: Any, message: str) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"a damaged pickle .*{message}"):
        restricted_loads(dumps([thing]))


@pytest.mark.parametrize(
    ("begin", "size", "stride", "message"),
    [
        (0, (10**9,), (0,), "a tensor larger than its numbers"),
        (0, (8,), (1,), "a tensor larger than its numbers"),
        (0, (4,), (10**6,), "a tensor larger than its numbers"),
        (0, [4], [1], "a tensor without a shape"),
        (10**9, (1,), (1,), "a tensor larger than its numbers"),
        (10**9, (0,), (1,), "a tensor larger than its numbers"),
        (-1, (1,), (1,), "a tensor without a shape"),
        (0, (2, 2), (2,), "a tensor without a shape"),
    ],
)
def test_a_tensor_must_lie_within_its_numbers(begin: Any, size: Any, stride: Any, message: str) -> None:
    storage, _, _, _, *rest = th.zeros(4).__reduce_ex__(4)[1]
    assert restricted_loads(dumps(Reduced(REBUILD_TENSOR, (storage, 0, (4,), (1,), *rest)))).shape == (4,)
    with pytest.raises(UnreadableCheckpointError, match=message):
        restricted_loads(dumps(Reduced(REBUILD_TENSOR, (storage, begin, size, stride, *rest))))


def test_the_capacity_of_a_buffer_is_not_believed() -> None:
    state = {"capacity": 10**12, "n_steps": 1, "rows": ROWS}
    assert restricted_loads(dumps(Reduced(TransitionBuffer, (), state))).capacity == 2


def test_a_generator_that_would_repeat_one_number_is_refused() -> None:
    """Sampling from its space until a number fits would never end."""
    generator = np.random.default_rng(0)
    pickled = pickle.dumps(generator, 4)
    increment = generator.bit_generator.state["state"]["inc"]
    n_bytes = increment.bit_length() // 8 + 1
    even = pickled.replace(increment.to_bytes(n_bytes, "little"), (increment + 1).to_bytes(n_bytes, "little"))
    assert even != pickled
    assert restricted_loads(pickled).random() == np.random.default_rng(0).random()
    with pytest.raises(UnreadableCheckpointError, match="a generator that repeats one number"):
        restricted_loads(even)
