"""The tensors of saved models are checked before PyTorch reads them."""

import zipfile

import pytest
import torch as th

from sb3_a2c_td import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.policies.separate import MlpPolicy
from tests.saving.models import ARCHIVE, SMALL, assert_unreadable, load, tensors
from tests.saving.pickles import files_of, with_file, zipped


@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth"])
def test_damaged_zips_of_tensors_are_refused(name: str) -> None:
    content = files_of(ARCHIVE)[name]
    for damaged in (
        b"",
        content[:-50],
        zipped(files_of(content), zipfile.ZIP_DEFLATED),
        zipped({**files_of(content), "../evil": b""}),
    ):
        assert_unreadable(with_file(ARCHIVE, name, damaged), f"in its entry '{name}', ")


@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth"])
def test_damaged_tensors_are_refused(name: str) -> None:
    files = files_of(files_of(ARCHIVE)[name])
    for damaged, message in (
        ({"archive/version": b"3"}, "not enough values"),
        ({**files, "archive/data/0": bytes(4)}, "a tensor with more or fewer numbers than it says"),
        ({**files, "archive/data.pkl": b"\x80\x02N."}, "no dict of tensors"),
    ):
        with pytest.raises(UnreadableCheckpointError, match=f"in its entry '{name}', damaged tensors.*{message}"):
            load(with_file(ARCHIVE, name, zipped(damaged)))


def test_damaged_tensors_of_trusted_files_are_refused() -> None:
    files = files_of(files_of(ARCHIVE)["policy.pth"])
    for damaged in ({"archive/version": b"3"}, {**files, "archive/data/0": bytes(4)}):
        with pytest.raises(UnreadableCheckpointError, match="settings and weights do not fit together.*RuntimeError"):
            load(with_file(ARCHIVE, "policy.pth", zipped(damaged)), trusted=True)


def test_tensors_larger_than_their_numbers_are_refused() -> None:
    parameters = {name: th.zeros(1).expand(param.shape) for name, param in SMALL.policy.named_parameters()}
    with pytest.raises(UnreadableCheckpointError, match="a tensor larger than its numbers"):
        load(with_file(ARCHIVE, "policy.pth", tensors(parameters)))


def test_variables_of_other_algorithms_are_refused() -> None:
    archive = with_file(ARCHIVE, "pytorch_variables.pth", tensors({"policy_class": th.zeros(1)}))
    with pytest.raises(UntrustedCheckpointError, match="holds policy_class, which TDA2C does not have"):
        load(archive)
    assert not hasattr(MlpPolicy, "data")
