"""The instructions of pickles: payloads do not run, and damage is noticed."""

import copyreg
import io
import os
import pickle
import pickletools
import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.utils import FloatSchedule
from torch import nn

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving import UnreadableCheckpointError, UntrustedCheckpointError, restricted_loads
from sb3_a2c_td.saving.unpickling import Unpickler
from sb3_a2c_td.saving.unpickling.unpickler import HARMLESS
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.saving.models import described
from tests.saving.pickles import PAYLOADS, New, Reduced, dumps

ASKED_FOR = {
    "a call": f"{os.mkdir.__module__}.mkdir",
    "builtins.eval": "builtins.eval",
    "builtins.exec": "builtins.exec",
    "os.system": f"{os.system.__module__}.system",
    "a pickle in a pickle": "_pickle.loads",
    "functools.partial": "functools.partial",
    "builtins.getattr": "builtins.getattr",
    "a module in an allowed one": "torch.os.mkdir",
    "a module of schedules": "stable_baselines3.common.utils.os.mkdir",
    "a function of a script": "cloudpickle.cloudpickle._make_function",
    "an array of objects": "numpy.dtype('O8')",
    "numbers of a tensor": "a tensor that holds more than numbers",
    "a state": "functools.partial",
    "GLOBAL": "os.mkdir",
    "INST": "a call of os.mkdir",
    "OBJ": "os.mkdir",
}
"""what the error names, by payload"""


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_do_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UntrustedCheckpointError, match="trusted=True") as raised:
        restricted_loads(PAYLOADS[name](str(canary)))
    assert f"the pickle asks for {ASKED_FOR[name]}, which" in str(raised.value)
    assert not canary.exists()


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_run_in_the_unpickler_of_python(name: str, tmp_path: Path) -> None:
    """So the test above can fail."""
    canary = tmp_path / "canary"
    pickle.loads(PAYLOADS[name](str(canary)))
    assert canary.exists()


PLACES: dict[str, Callable[[Any], Any]] = {
    "dict": lambda payload: {"net_arch": [2], "activation_fn": payload},
    "nested containers": lambda payload: {"a": {"b": [({"c": payload},)]}},
    "deque": lambda payload: deque([{"r": payload}], maxlen=100),
    "ordered dict": lambda payload: OrderedDict(a=payload),
    "attribute of a space": lambda payload: New(spaces.Box, (), {**vars(spaces.Box(0, 1)), "low": payload}),
    "attribute of a schedule": lambda payload: New(FloatSchedule, (), {"value_schedule": payload}),
    "argument of a call": lambda payload: Reduced(deque, ((), payload)),
}


@pytest.mark.parametrize("name", PLACES)
def test_payloads_in_other_objects_do_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = dumps(PLACES[name](Reduced(os.mkdir, (str(canary),))))
    with pytest.raises(UntrustedCheckpointError, match=f"asks for {os.mkdir.__module__}.mkdir"):
        restricted_loads(pickled)
    assert not canary.exists()


@pytest.mark.parametrize(
    "instruction",
    [each for each in pickletools.opcodes if ord(each.code) not in Unpickler.dispatch or each.name == "INST"],
    ids=lambda each: each.name,
)
def test_other_instructions_are_refused(instruction: pickletools.OpcodeInfo) -> None:
    with pytest.raises(UntrustedCheckpointError):
        restricted_loads(pickle.MARK + instruction.code.encode("latin1") + b"os\nmkdir\n" + bytes(8))


def test_harmless_instructions_call_import_and_change_nothing() -> None:
    names = {instruction.name for instruction in pickletools.opcodes if instruction.code.encode("latin1") in HARMLESS}
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
def test_damaged_pickles_are_refused(pickled: bytes) -> None:
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


def damaged(pickled: bytes, data: st.DataObject) -> bytes:
    """Change, move and remove bytes."""
    changed = bytearray(pickled)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(changed) - 1))
        end = begin + data.draw(st.sampled_from([0, 1, 1, 1, 4, 20]))
        source = data.draw(st.integers(0, len(pickled) - 1))
        changed[begin:end] = data.draw(st.one_of(st.binary(max_size=4), st.just(pickled[source : source + 20])))
    return bytes(changed)


@given(st.sampled_from(PICKLES), st.data())
def test_damaged_pickles_are_refused_or_read_as_by_python(pickled: bytes, data: st.DataObject) -> None:
    content = damaged(pickled, data)
    try:
        read = restricted_loads(content)
    except (UntrustedCheckpointError, UnreadableCheckpointError):
        return
    # safe, since it names nothing but allowed types
    expected = pickle._Unpickler(io.BytesIO(content)).load()
    np.testing.assert_equal(described(read), described(expected))
