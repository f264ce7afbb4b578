"""The entries of saved models: each is required, checked, and free of code."""

import io
import json
import os
from pathlib import Path

import pytest
import torch as th

from sb3_a2c_td import TDA2C, MlpPolicy, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving import read_checkpoint, restricted_loads
from tests.environments import CountingEnv
from tests.saving.models import ARCHIVE, SMALL, assert_same_model, assert_unreadable, load, tensors
from tests.saving.pickles import PAYLOADS, TAKEN_FOR_OTHERS, Reduced, files_of, with_file, with_pickle, zipped


@pytest.mark.parametrize("name", ["data", "policy.pth", "policy.optimizer.pth"])
def test_a_missing_entry_is_named(name: str) -> None:
    files = files_of(ARCHIVE)
    del files[name]
    assert_unreadable(zipped(files), f"no entry '{name}'")


def test_another_format_is_refused() -> None:
    for version, message in (
        (3, "a newer version.*install a newer version"),
        (1, "an earlier version.*load it with the version"),
    ):
        other = with_file(ARCHIVE, "sb3_a2c_td.json", json.dumps({"format": version}).encode())
        assert_unreadable(other, message)
    assert_same_model(load(with_file(ARCHIVE, "sb3_a2c_td.json", b'{"format": 2}')), SMALL)


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"format": "1"}', b'{"format": true}', b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(manifest: bytes) -> None:
    assert_unreadable(with_file(ARCHIVE, "sb3_a2c_td.json", manifest), "'sb3_a2c_td.json' is damaged")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"a": 1' + b"0" * 10_000 + b"}"])
def test_damaged_data_are_refused(data: bytes) -> None:
    assert_unreadable(with_file(ARCHIVE, "data", data), "'data' is damaged")


# Each entry with a payload


@pytest.mark.parametrize("key", ["policy_class", "unknown_attribute"])
def test_a_payload_in_the_data_does_not_run(key: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(with_pickle(ARCHIVE, key, PAYLOADS["a call"](str(canary))))
    assert f"{key} holds {os.name}.mkdir. Replace " in str(raised.value)
    assert f"custom_objects={{{key!r}: ...}}" in str(raised.value)
    assert "trusted=True" in str(raised.value)
    assert not canary.exists()


def test_a_payload_in_trusted_data_runs(tmp_path: Path) -> None:
    """So the test above can fail."""
    canary = tmp_path / "canary"
    loaded = load(with_pickle(ARCHIVE, "unknown_attribute", PAYLOADS["a call"](str(canary))), trusted=True)
    assert vars(loaded)["unknown_attribute"] is None
    assert canary.exists()


@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
def test_a_payload_in_the_place_of_tensors_does_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    poisoned = tensors({"weight": Reduced(os.mkdir, (str(canary),))})
    with pytest.raises(UntrustedCheckpointError, match=f"'{name}' asks for {os.name}.mkdir"):
        load(with_file(ARCHIVE, name, poisoned))
    # even from trusted files, tensors are read with weights_only
    with pytest.raises(UnreadableCheckpointError, match="mkdir"):
        load(with_file(ARCHIVE, name, poisoned), trusted=True)
    assert not canary.exists()
    th.load(io.BytesIO(poisoned), weights_only=False)
    assert canary.exists()


def test_a_payload_in_the_training_state_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = with_file(ARCHIVE, "training_state.pkl", PAYLOADS["a call"](str(canary)))
    state = read_checkpoint(io.BytesIO(archive)).training_state
    assert state is not None
    with pytest.raises(UntrustedCheckpointError, match=f"asks for {os.name}.mkdir"):
        restricted_loads(state)
    with pytest.raises(UntrustedCheckpointError, match=f"{os.name}.mkdir"):
        TDA2C.resume(io.BytesIO(archive), CountingEnv(7), "cpu")
    # for the statistics of VecNormalize
    with pytest.raises(UntrustedCheckpointError, match=f"{os.name}.mkdir"):
        load(archive)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["tensors.pth", "unknown.pth", "Policy.pth"])
def test_tensors_under_other_names_need_trust(name: str) -> None:
    """SB3 reads tensors.pth too, and writes its content into attributes of the model and of classes."""
    archive = with_file(ARCHIVE, name, tensors({"policy_class": th.zeros(1), "policy.action_net.weight": th.zeros(1)}))
    with pytest.raises(UnreadableCheckpointError, match=f"an entry '{name}', which saved models do not have"):
        load(archive)
    assert not hasattr(MlpPolicy, "data")


@pytest.mark.parametrize("other", TAKEN_FOR_OTHERS)
@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth"])
def test_entries_that_pytorch_takes_for_others_are_refused(name: str, other: str) -> None:
    """PyTorch ignores the case of names, and would read another pickle or other numbers than were checked."""
    files = files_of(files_of(ARCHIVE)[name])
    content = files[TAKEN_FOR_OTHERS[other]]
    assert_unreadable(with_file(ARCHIVE, name, zipped({other: content, **files})), f"in its entry '{name}', ")
