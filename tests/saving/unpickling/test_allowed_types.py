"""The content of saved models is read; anything else that a pickle names is refused, and not imported."""

import pickle
import random
import struct
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from numpy.random import _pickle as numpy_pickle
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from sb3_a2c_td.policies.separate import MlpPolicy
from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving import UntrustedCheckpointError, restricted_loads
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.saving.pickles import Named, Reduced, dumps
from tests.saving.unpickling.rows import ROWS

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
    "dates": [
        date(1, 1, 1),
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC, fold=1),
        datetime(9999, 12, 31),
        time(23, 59, 58, 7, timezone(timedelta(hours=-2), "here"), fold=1),
        timedelta(-3, 4, 5),
        timezone(timedelta(minutes=90)),
    ],
    "decimals": [Decimal("-1.50"), Decimal("1E+20"), Decimal("Infinity")],
    "paths": [Path("a/b"), Path("/a"), PurePosixPath(), PureWindowsPath("c:/a")],
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
def test_content_of_models_is_read(name: str, protocol: int) -> None:
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


def test_paths_of_other_systems_and_versions_are_read() -> None:
    for module in ("pathlib", "pathlib._local"):
        pickled = dumps(Reduced(Named(module, "WindowsPath"), ("c:\\", "a")))
        assert restricted_loads(pickled) == PureWindowsPath("c:/a")


def test_generators_continue_from_their_state() -> None:
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
    """Return a pickle with another name in it."""
    pieces = [struct.pack("<cB", pickle.SHORT_BINUNICODE, len(name)) + name.encode() for name in (old, new)]
    assert pieces[0] in pickled
    pickled = pickled.replace(*pieces)
    # without the first frame, whose length is different now
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


# Names that are refused


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
        ("zoneinfo", "ZoneInfo._unpickle"),
        ("pathlib", "Path.unlink"),
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


def test_refused_modules_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("name", ["deque", "OrderedDict"])
def test_functions_to_call_are_no_values(name: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"collections.{name} itself"):
        restricted_loads(dumps({"policy_kwargs": [Named("collections", name)]}))
