import copyreg
import pickle
import pickletools
import random
import struct
from collections import OrderedDict, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import _pickle as numpy_pickle
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from sb3_a2c_td.policies.separate import MlpPolicy
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions
from sb3_a2c_td.saving import UnreadableCheckpointError, UntrustedCheckpointError, restricted_loads
from sb3_a2c_td.saving.unpickling import PLAIN, Unpickler
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.saving.pickles import PAYLOADS, Named, Reduced, dumps

ROWS = Transitions(
    np.ones((2, 3), np.float32), np.zeros(2, np.int64), *[np.zeros((2, 3))] * 2, *[np.zeros(2, bool)] * 2
)
ROWS = ROWS._replace(rewards=np.ones(2, np.float32))

THINGS = {
    "numbers": [None, True, False, 0, 255, 70_000, -1, 2**40, 10**50, 0.5, 2 + 3j],
    "texts": ["", "x" * 300, b"", b"x" * 300, "é"],
    "containers": [(), (1,), (1, 2, 3, 4), [], {}, {"a": {"b": [1]}}, {1: 2, (1, "a"): 3}, {1, 2}, frozenset({1})],
    "deque": deque([{"r": 1.0, "l": 2, "t": 0.5}], maxlen=100),
    "ordered dict": OrderedDict(b=1, a=2),
    "python's random": random.getstate(),
    "arrays": [np.arange(6, dtype=dtype).reshape(2, 3) for dtype in ("u1", "i8", "f2", "f4", "f8", "c16", ">i4")],
    "strides": [
        np.arange(6).reshape(2, 3)[:, ::2],
        np.zeros((2, 3, 4)).transpose(2, 0, 1),
        np.zeros((2, 3), order="F"),
    ],
    "small arrays": [np.array(2.0), np.zeros((0, 3)), np.array([True, False])],
    "numpy's numbers": [np.float32(0.1), np.int64(3), np.bool_(True), np.complex64(1j)],
    "dtypes": [np.dtype("f4"), np.dtype(">i8"), th.float32, th.bool, th.device("cpu")],
    "classes": [MlpPolicy, nn.Tanh, nn.ReLU, nn.Identity, th.optim.Adam, th.optim.SGD],
    "schedules": [robbins_monro_schedule(1.0, 10.0, 0.6)],
    "spaces": [
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(np.zeros(2), np.inf, dtype=np.float64),
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.MultiBinary([2, 3]),
        spaces.Dict(a=spaces.Discrete(2), b=spaces.Dict(c=spaces.Box(0, 255, (3,), np.uint8))),
    ],
}


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and first.shape == second.shape and bool((first == second).all())
    if isinstance(first, list | tuple):
        return type(first) is type(second) and len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("name", THINGS)
def test_what_models_hold_is_read(name: str, protocol: int) -> None:
    # protocol 4 writes numbers as they are in memory here
    thing = THINGS[name]
    assert same(restricted_loads(pickle.dumps(thing, protocol)), pickle.loads(pickle.dumps(thing, protocol)))


@pytest.mark.parametrize(
    "schedule", [ConstantSchedule(0.5), LinearSchedule(1, 0, 0.5), robbins_monro_schedule(1.0, 10.0, 0.6)]
)
def test_schedules_are_read(schedule: Any) -> None:
    read = restricted_loads(cloudpickle.dumps(FloatSchedule(schedule)))
    assert type(read) is FloatSchedule
    assert [read(progress) for progress in (1.0, 0.3, 0.0)] == [schedule(progress) for progress in (1.0, 0.3, 0.0)]


def test_generators_go_on() -> None:
    space = spaces.Dict(a=spaces.Discrete(10**6, seed=3), b=spaces.Box(0, 1, (3,)), seed=4)
    space.sample()
    read, expected = restricted_loads(pickle.dumps(space)), pickle.loads(pickle.dumps(space))
    for _ in range(3):
        assert str(read.sample()) == str(expected.sample())
    assert read.np_random.spawn(1)[0].random() == expected.np_random.spawn(1)[0].random()
    seeded = np.random.default_rng([1, 2**100])
    assert restricted_loads(pickle.dumps(seeded)).random() == seeded.random()


def test_transitions_are_read() -> None:
    buffer = TransitionBuffer(capacity=5)
    buffer.add(ROWS)
    read = restricted_loads(pickle.dumps(buffer, 5))
    assert (len(read), read.n_steps) == (2, 1)
    assert all(map(same, read.transitions(), ROWS))
    assert len(restricted_loads(pickle.dumps(TransitionBuffer(5)))) == 0


def test_tensors_are_read() -> None:
    tensors = [th.arange(6.0).reshape(2, 3), th.arange(6.0).reshape(2, 3).t(), th.tensor(3), th.zeros(2, dtype=th.bool)]
    for read, tensor in zip(restricted_loads(cloudpickle.dumps(tensors)), tensors, strict=True):
        assert read.dtype == tensor.dtype
        assert th.equal(read, tensor)


def renamed(pickled: bytes, old: str, new: str) -> bytes:
    """Give a pickle with another name in it."""
    pieces = [struct.pack("<cB", pickle.SHORT_BINUNICODE, len(name)) + name.encode() for name in (old, new)]
    assert pieces[0] in pickled
    pickled = pickled.replace(*pieces)
    # without the length that the first frame had
    return pickled[:2] + pickled[11:]


@pytest.mark.parametrize("array", [np.arange(3), np.arange(6).reshape(2, 3)[:, ::2], np.float32(3)])
def test_arrays_of_numpy_1_are_read(array: Any) -> None:
    name = "numeric" if isinstance(array, np.ndarray) and array.flags.c_contiguous else "multiarray"
    pickled = renamed(pickle.dumps(array, 5), f"numpy._core.{name}", f"numpy.core.{name}")
    assert same(restricted_loads(pickled), array)


def test_generators_of_numpy_1_are_read() -> None:
    generator = np.random.default_rng(3)
    constructor = vars(numpy_pickle)["__bit_generator_ctor"]
    old = Reduced(vars(numpy_pickle)["__generator_ctor"], ("PCG64", constructor), generator.bit_generator.state)
    assert restricted_loads(dumps(old)).random() == generator.random()


# What is refused


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_do_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UntrustedCheckpointError, match="trusted=True"):
        restricted_loads(PAYLOADS[name](str(canary)))
    assert not canary.exists()


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_would_run(name: str, tmp_path: Path) -> None:
    """Read by Python's own unpickler; otherwise the test above would say nothing."""
    canary = tmp_path / "canary"
    pickle.loads(PAYLOADS[name](str(canary)))
    assert canary.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gymnasium.spaces.box", "Box.__init__"),
        ("gymnasium.spaces.box", "Box.__init__.__globals__"),
        ("gymnasium.spaces.box", "np.load"),
        ("gymnasium.spaces", "Box"),
        ("stable_baselines3.common.utils", "get_device.__globals__"),
        ("sb3_a2c_td.schedules", "RobbinsMonroSchedule.__call__"),
        ("sb3_a2c_td.policies.separate", "MlpPolicy.load"),
        ("sb3_a2c_td.rollout.transitions", "Transitions._make"),
        ("sb3_a2c_td.rollout.transitions", "selected"),
        ("torch.nn.modules.activation", "Tanh.__subclasses__"),
        ("torch.nn.modules.activation", "Tanh.register_full_backward_hook"),
        ("torch", "load"),
        ("torch", "hub.load"),
        ("torch.serialization", "load"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "dtypes.StringDType"),
        ("collections", "namedtuple"),
        ("builtins", "bytearray"),
        ("builtins", "object"),
        ("copyreg", "_reconstructor"),
        ("operator", "attrgetter"),
        ("", ""),
        ("__main__", "anything"),
        ("no_such_module", "anything"),
    ],
)
def test_other_names_are_refused(module: str, name: str) -> None:
    with pytest.raises(UntrustedCheckpointError) as raised:
        restricted_loads(dumps([Named(module, name)]))
    assert f"asks for {module}.{name}, " in str(raised.value)


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harmful_module.py").write_text("import os; os.mkdir('canary')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    pickled = dumps(Named("harmful_module", "anything"))
    with pytest.raises(UntrustedCheckpointError, match=r"harmful_module\.anything"):
        restricted_loads(pickled)
    assert not (tmp_path / "canary").exists()
    with pytest.raises(AttributeError):
        pickle.loads(pickled)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", [nn.Tanh, MlpPolicy, th.optim.Adam, nn.Module])
def test_classes_are_never_called(kind: type) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"a call of {kind.__module__}.{kind.__name__}"):
        restricted_loads(dumps(Reduced(kind, ())))
    by_new = dumps(kind)[:-1] + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.STOP
    with pytest.raises(UntrustedCheckpointError, match="a call of"):
        restricted_loads(by_new)


@pytest.mark.parametrize("thing", [nn.Tanh, MlpPolicy, spaces.Box, np.ndarray, [], {}, np.float32(1), 1, "text"])
def test_states_are_refused(thing: Any) -> None:
    state = dumps({"__call__": 1})[2:]
    with pytest.raises(UntrustedCheckpointError, match="a state for"):
        restricted_loads(dumps(thing)[:-1] + state[:-1] + pickle.BUILD + pickle.STOP)


@pytest.mark.parametrize("name", ["deque", "OrderedDict"])
def test_what_is_called_is_no_value(name: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"collections.{name} itself"):
        restricted_loads(dumps({"policy_kwargs": [Named("collections", name)]}))


@pytest.mark.parametrize(
    "instruction",
    [each for each in pickletools.opcodes if ord(each.code) not in Unpickler.dispatch or each.name == "INST"],
    ids=lambda each: each.name,
)
def test_other_instructions_are_refused(instruction: pickletools.OpcodeInfo) -> None:
    with pytest.raises(UntrustedCheckpointError):
        restricted_loads(pickle.MARK + instruction.code.encode("latin1") + b"os\nmkdir\n" + bytes(8))


def test_only_these_instructions_are_followed_as_they_are() -> None:
    """None of them calls, imports or changes anything by itself."""
    names = {instruction.name for instruction in pickletools.opcodes if instruction.code.encode("latin1") in PLAIN}
    assert not names & {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "NEXT_BUFFER"}
    assert not names & {"EXT1", "EXT2", "EXT4", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BYTEARRAY8"}
    assert Unpickler.find_class is not pickle._Unpickler.find_class


@pytest.mark.parametrize("code", [b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"])
def test_extensions_are_refused(code: bytes, tmp_path: Path) -> None:
    copyreg.add_extension("os", "mkdir", 0xF0)
    try:
        with pytest.raises(UntrustedCheckpointError, match="the instruction EXT"):
            restricted_loads(code + dumps((str(tmp_path / "canary"),))[2:-1] + b"R.")
    finally:
        copyreg.remove_extension("os", "mkdir", 0xF0)
    assert not (tmp_path / "canary").exists()


# What looks allowed


def with_attributes(thing: Any, **attributes: Any) -> Reduced:
    return Reduced(type(thing), (), {**vars(thing), **attributes})


@pytest.mark.parametrize(
    "thing",
    [
        with_attributes(FloatSchedule(1.0), value_schedule=nn.Tanh),
        with_attributes(FloatSchedule(1.0), value_schedule=1.0),
        with_attributes(LinearSchedule(1, 0, 1), start="1"),
        with_attributes(LinearSchedule(1, 0, 1), __class__=nn.Tanh),
        with_attributes(ConstantSchedule(1), __call__=nn.Tanh),
        with_attributes(robbins_monro_schedule(1.0, 10.0, 0.6), steps=LinearSchedule(1, 0, 1)),
        with_attributes(spaces.Discrete(2), sample=nn.Tanh),
        with_attributes(spaces.Discrete(2), n="2"),
        with_attributes(spaces.Discrete(2), _shape=(10**10,)),
        with_attributes(spaces.Discrete(2), _np_random=spaces.Discrete(2)),
        with_attributes(spaces.Box(0, 1), _shape=(10**10,)),
        with_attributes(spaces.Box(0, 1), low=np.zeros(3)),
        with_attributes(spaces.Box(0, 1), dtype=th.float32),
        with_attributes(spaces.MultiBinary(3), _shape=(10**10,)),
        with_attributes(spaces.MultiDiscrete([2, 2]), _shape=(10**10,)),
        with_attributes(spaces.Dict(a=spaces.Discrete(2)), spaces={"a": nn.Tanh}),
        Reduced(spaces.Box, ()),
        Reduced(np.random.PCG64, ()),
    ],
)
def test_things_with_other_attributes_are_refused(thing: Any) -> None:
    with pytest.raises(UntrustedCheckpointError):
        restricted_loads(dumps([thing]))


def test_attributes_are_checked_at_the_end() -> None:
    """A dict can be filled after it became an attribute."""
    space = dumps(spaces.Dict(a=spaces.Discrete(2)))
    inner = {"a": 1}
    attributes = {**vars(spaces.Dict(a=spaces.Discrete(2))), "spaces": inner}
    pickled = dumps([Reduced(spaces.Dict, (), attributes), inner])
    assert restricted_loads(space)
    with pytest.raises(UntrustedCheckpointError, match="a Dict whose parts do not match"):
        restricted_loads(pickled)


def array_with(state: Any, shape: Any = (0,)) -> Reduced:
    return Reduced(Named("numpy._core.multiarray", "_reconstruct"), (np.ndarray, shape, b"b"), state)


def frombuffer(*arguments: Any) -> Reduced:
    return Reduced(Named("numpy._core.numeric", "_frombuffer"), arguments)


def dtype_with(kind: str, *state: Any) -> Reduced:
    return Reduced(np.dtype, (kind, False, True), *state)


F4 = np.dtype("f4")
SEED = np.random.SeedSequence(3)
SEED_CALL, SEED_ARGUMENTS, SEED_STATE = SEED.__reduce__()
BIT_GENERATOR = vars(numpy_pickle)["__bit_generator_ctor"]


@pytest.mark.parametrize(
    "thing",
    [
        # larger than their bytes
        frombuffer(bytearray(4), F4, (10**10,), "C"),
        frombuffer(bytearray(4), F4, (-1,), "C"),
        frombuffer(bytearray(4), F4, (1,) * 100, "C"),
        frombuffer(10**10, F4, (1,), "C"),
        frombuffer(np.zeros(1, np.float32), F4, (1,), "C"),
        array_with((1, (10**10,), F4, False, b"1234")),
        array_with((1, (1,), F4, False, [1.0])),
        array_with((1, (1,), "f4", False, b"1234")),
        array_with((1, (1,), F4, False, b"1234"), shape=(10**10,)),
        Reduced(array_with((1, (1,), F4, False, b"1234")), ()),
        Reduced(Named("numpy._core.multiarray", "_reconstruct"), (spaces.Box, (0,), b"b")),
        Reduced(Named("numpy._core.multiarray", "scalar"), (F4, b"12345678")),
        Reduced(Named("numpy._core.multiarray", "scalar"), (F4,)),
        # truth values that numpy would add up
        frombuffer(bytearray([2]), np.dtype(bool), (1,), "C"),
        array_with((1, (1,), np.dtype(bool), False, b"\xff")),
        # dtypes of other things than numbers
        dtype_with("O8"),
        dtype_with("U4"),
        dtype_with("M8"),
        dtype_with("V8"),
        dtype_with("f4,O8"),
        dtype_with(nn.Tanh),
        dtype_with("f4", (3, "<", None, None, None, 400, 4, 0)),
        dtype_with("f4", (3, "<", None, None, None, -1, -1, 63)),
        dtype_with("f4", (3, "<", None, ("a",), {"a": (dtype_with("O8"), 0)}, 8, 8, 63)),
        dtype_with("f4", (3, "<", (F4, (10**10,)), None, None, 4, 4, 0)),
        dtype_with("f4", (4, "<", None, None, None, -1, -1, 0, {"metadata": 1})),
        # generators, whose states numpy does not check
        np.random.Generator(np.random.MT19937(1)),
        np.random.Generator(np.random.Philox(1)),
        np.random.RandomState(1),
        Reduced(BIT_GENERATOR, (nn.Tanh,)),
        Reduced(BIT_GENERATOR, ("PCG64",), {"bit_generator": "MT19937"}),
        Reduced(BIT_GENERATOR, ("PCG64",), (np.random.PCG64(1).state, 5)),
        Reduced(SEED_CALL, (nn.Tanh, *SEED_ARGUMENTS[1:])),
        Reduced(SEED_CALL, (*SEED_ARGUMENTS[:2], SEED_STATE)),
        Reduced(SEED_CALL, SEED_ARGUMENTS, (*SEED_STATE[:2], np.zeros(1, np.uint32), *SEED_STATE[3:])),
        Reduced(SEED_CALL, SEED_ARGUMENTS, (*SEED_STATE[:3], 10**10, ())),
        Reduced(SEED_CALL, SEED_ARGUMENTS, (1 << 10_000, *SEED_STATE[1:])),
        # containers
        Reduced(deque, ([1, 2],)),
        Reduced(deque, ("text", 3)),
        Reduced(OrderedDict, ([("a", 1)],)),
        Reduced(complex, ("1e5",)),
        # transitions
        Reduced(Transitions, (1, 2, 3, 4, 5, 6)),
        Reduced(Transitions, tuple(ROWS)[:5]),
        Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 0, "rows": ROWS}),
        Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 1, "rows": [1]}),
        Reduced(TransitionBuffer, (), {"capacity": 1, "n_steps": 1, "rows": ROWS._replace(actions=np.zeros(7))}),
        # tensors
        Reduced(Named("torch.storage", "_load_from_bytes"), (b"PK\x03\x04",)),
        Reduced(Named("torch.storage", "_load_from_bytes"), (b"\x80\x02]q\x00h\x00\x86.",)),
        Reduced(Named("torch._utils", "_rebuild_tensor_v2"), (1, 0, (1,), (1,), False, OrderedDict())),
        Reduced(th.device, (1,)),
    ],
)
def test_arguments_and_states_are_checked(thing: Any) -> None:
    with pytest.raises((UntrustedCheckpointError, UnreadableCheckpointError)):
        restricted_loads(dumps([thing]))


def test_a_tensor_larger_than_its_numbers_is_refused() -> None:
    storage, _, _, _, *rest = th.zeros(4).__reduce_ex__(4)[1]
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    assert restricted_loads(dumps(Reduced(rebuild, (storage, 0, (4,), (1,), *rest)))).shape == (4,)
    for begin, size, stride in [
        *((0, (10**9,), (0,)), (0, (8,), (1,)), (0, (4,), (10**6,)), (0, [4], [1])),
        *((10**9, (1,), (1,)), (10**9, (0,), (1,)), (-1, (1,), (1,)), (0, (2, 2), (2,))),
    ]:
        with pytest.raises(UnreadableCheckpointError):
            restricted_loads(dumps(Reduced(rebuild, (storage, begin, size, stride, *rest))))


def test_a_capacity_is_not_believed() -> None:
    state = {"capacity": 10**12, "n_steps": 1, "rows": ROWS}
    assert restricted_loads(dumps(Reduced(TransitionBuffer, (), state))).capacity == 2


# What would take for ever


def laughs(pair: bytes, levels: int = 60) -> bytes:
    """Something in pairs of pairs of pairs ..., which would be larger than all memory if written out."""
    begin = dumps("ha")[:-1] + pickle.MEMOIZE
    return begin + b"".join(pair % (i, i) + pickle.MEMOIZE for i in range(1, levels + 1))


LISTS = b"](h%ch%ce"
TUPLES = b"h%ch%c\x86"


@pytest.mark.parametrize("pair", [LISTS, TUPLES], ids=["lists", "tuples"])
def test_laughs_are_not_shared(pair: bytes) -> None:
    with pytest.raises(UnreadableCheckpointError, match="much larger"):
        restricted_loads(laughs(pair) + b".")


@pytest.mark.parametrize("insert", [b"}h\x3cNs", b"\x8f(h\x3c\x90", b"(h\x3c\x91"], ids=["dict", "set", "frozenset"])
def test_laughs_are_not_hashed(insert: bytes) -> None:
    with pytest.raises(UnreadableCheckpointError, match="a key that is no scalar"):
        restricted_loads(laughs(TUPLES) + insert + b".")


def test_copies_are_counted() -> None:
    """Thousands of arrays of the same bytes."""
    content = b"1234" * 50_000
    arrays = [array_with((1, (50_000,), F4, False, content)) for _ in range(1000)]
    with pytest.raises(UnreadableCheckpointError, match="much larger than its pickle"):
        restricted_loads(dumps(arrays))


def test_long_texts_are_counted() -> None:
    with pytest.raises(UnreadableCheckpointError, match="much larger"):
        restricted_loads(dumps(["x" * 100_000] * 1000))


def test_what_lies_in_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append({"a": (endless,)})
    with pytest.raises(UnreadableCheckpointError, match="lies in itself"):
        restricted_loads(pickle.dumps(endless))


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [(b"]", b"a"), (b"", b"\x85")], ids=["lists", "tuples"])
def test_what_lies_deep_is_refused(begin: bytes, end: bytes, depth: int) -> None:
    with pytest.raises(UnreadableCheckpointError, match="too deep"):
        restricted_loads(b"\x80\x04" + begin * depth + b"]" + end * depth + b".")


def test_keys_cannot_all_have_the_same_hash() -> None:
    modulus = 2**61 - 1
    with pytest.raises(UnreadableCheckpointError, match="too many keys"):
        restricted_loads(pickle.dumps({modulus * i: None for i in range(100)} | dict.fromkeys(range(20_000))))
    assert len(restricted_loads(pickle.dumps({str(i): None for i in range(20_000)}))) == 20_000


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"\x80\x09N.",
        b"\x80\x04h\x07.",
        b"\x80\x04\x94.",
        b"\x80\x04e.",
        b"\x80\x04}(NNNu.",
        b"\x80\x04N(Ne.",
        b"\x80\x04NNNs.",
        b"\x80\x04K\x01",
        b"\x80\x04R.",
        b"\x80\x04b.",
        b"\x80\x04\xff.",
        b"\x80\x04\x95" + b"\xff" * 8 + b".",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x05\x8e" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x05\x8e" + b"\xff" * 8 + b".",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x8b\xff\xff\xff\xff.",
        b"\x80\x04\x8c\x02\xff\xff.",
        b"\x80\x04c\xff\n\xff\n.",
        b"\x80\x04NN\x93.",
    ],
    ids=repr,
)
def test_nonsense_is_unreadable(pickled: bytes) -> None:
    with pytest.raises(UnreadableCheckpointError, match="a damaged pickle"):
        restricted_loads(pickled)


PICKLES = [
    cloudpickle.dumps(thing)
    for thing in (
        FloatSchedule(robbins_monro_schedule(1.0, 10.0, 0.6)),
        spaces.Dict(a=spaces.Discrete(2, seed=1), b=spaces.Box(0, 1, (2,))),
        {"net_arch": [8], "activation_fn": nn.Tanh, "optimizer_class": th.optim.Adam},
        [np.arange(6).reshape(2, 3)[:, ::2], np.float32(1), th.zeros(2)],
        TransitionBuffer(3),
    )
]


@settings(max_examples=500)
@given(st.sampled_from(PICKLES), st.data())
def test_damaged_pickles(pickled: bytes, data: st.DataObject) -> None:
    """Bytes changed, moved, left out: an error, or something else that may be read."""
    changed = bytearray(pickled)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(changed) - 1))
        end = begin + data.draw(st.sampled_from([0, 1, 1, 1, 4, 20]))
        source = data.draw(st.integers(0, len(pickled) - 1))
        changed[begin:end] = data.draw(st.one_of(st.binary(max_size=4), st.just(pickled[source : source + 20])))
    with suppress(UntrustedCheckpointError, UnreadableCheckpointError):
        restricted_loads(bytes(changed))


def test_a_generator_that_would_stand_still_is_refused() -> None:
    """Whoever samples from its space until a number fits would never come back."""
    generator = np.random.default_rng(0)
    pickled = pickle.dumps(generator, 4)
    increment = generator.bit_generator.state["state"]["inc"]
    n_bytes = increment.bit_length() // 8 + 1
    even = pickled.replace(increment.to_bytes(n_bytes, "little"), (increment + 1).to_bytes(n_bytes, "little"))
    assert even != pickled
    assert restricted_loads(pickled).random() == np.random.default_rng(0).random()
    with pytest.raises(UnreadableCheckpointError, match="a generator that stands still"):
        restricted_loads(even)
