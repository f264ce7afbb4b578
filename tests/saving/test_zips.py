"""Zips that are damaged, or made to do harm."""

import io
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest
import torch as th

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from tests.saving.models import ARCHIVE, SMALL, assert_same_model, assert_unreadable, load, tensors
from tests.saving.pickles import files_of, with_file, zipped

END_OF_CENTRAL_DIRECTORY = 22
ZIP64_LOCATOR = 20
ZIP64_END = 56


def central_headers(archive: bytes) -> list[int]:
    """Find the headers in a zip's directory."""
    (begin,) = struct.unpack("<I", archive[-6:-2])
    return [i for i in range(begin, len(archive)) if archive[i : i + 4] == b"PK\x01\x02"]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18), bytes(1000)], ids=repr)
def test_files_that_are_no_zips_are_refused(content: bytes) -> None:
    assert_unreadable(content, "damaged, or not a saved model")


class TooLarge(io.BytesIO):
    """A file of which no more than the end of a zip fits into memory."""

    def read(self, size: int | None = -1) -> bytes:
        left = len(self.getbuffer()) - self.tell()
        if (left if size is None or size < 0 else size) > 2**17:
            raise MemoryError
        return super().read(size)


@pytest.mark.parametrize(
    ("content", "message"),
    [(bytes(2**20), "File is not a zip file"), (bytes(2**20) + ARCHIVE, "does not fit into memory")],
    ids=["zeros", "a zip"],
)
def test_files_larger_than_the_memory_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"the file: it is damaged, or not a saved model.*{message}"):
        TDA2C.load(TooLarge(content))


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    for n_bytes in (1000, len(ARCHIVE) - 100):
        path.write_bytes(ARCHIVE[:n_bytes])
        with pytest.raises(UnreadableCheckpointError, match=f"^{path}: it is damaged, or not a saved model"):
            TDA2C.load(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "data/../evil",
        "C:\\evil",
        "..\\policy.pth",
        "a/b.pth",
        "..pth",
        ".pth",
        "policy.pth.py",
        "README.md",
        "__MACOSX/._data",
    ],
)
def test_entries_with_other_names_need_trust(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    archive = with_file(ARCHIVE, name, b"evil")
    with pytest.raises(UnreadableCheckpointError, match="which saved models do not have.*load it with trusted=True"):
        load(archive)
    assert_same_model(load(archive, trusted=True), SMALL)
    assert [*tmp_path.rglob("*")] == [folder]


def test_a_folder_does_not_hide_the_zip_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model.zip").write_bytes(ARCHIVE)
    assert_same_model(TDA2C.load(tmp_path / "model", device="cpu"), SMALL)


def test_zips_that_were_packed_again_load() -> None:
    archive = zipped(files_of(ARCHIVE), zipfile.ZIP_DEFLATED)
    assert len(archive) < len(ARCHIVE)
    for trusted in (False, True):
        assert_same_model(load(archive, trusted=trusted), SMALL)
    assert_unreadable(zipped(files_of(ARCHIVE), zipfile.ZIP_BZIP2), "compressed by an unsupported method")


def test_highly_compressed_zips_need_trust() -> None:
    files = {**files_of(ARCHIVE), "system_info.txt": b" " * 10**6}
    archive = zipped(files, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnreadableCheckpointError, match="much larger than the file itself.*trusted=True"):
        load(archive)
    assert_same_model(load(archive, trusted=True), SMALL)


def test_two_entries_with_one_name_are_refused() -> None:
    file = io.BytesIO(ARCHIVE)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("data", b"{}")
    assert_unreadable(file.getvalue(), "several entries 'data'")


def test_no_more_is_unpacked_than_a_zip_says() -> None:
    """A hundred megabytes in an entry that says it has one byte."""
    bomb = bytearray(zipped({**files_of(ARCHIVE), "data": bytes(10**8)}, zipfile.ZIP_DEFLATED))
    header = next(i for i in central_headers(bytes(bomb)) if bomb[i + 46 : i + 50] == b"data")
    bomb[header + 24 : header + 28] = struct.pack("<I", 1)
    tracemalloc.start()
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match="BadZipFile: Bad CRC-32 for file 'data'"):
            load(bytes(bomb), trusted=trusted)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**7


@pytest.mark.parametrize(
    ("n_bytes", "message"), [(1, "BadZipFile: Bad CRC-32"), (2**32 - 2, "larger than the file itself")]
)
def test_wrong_sizes_are_noticed(n_bytes: int, message: str) -> None:
    for header in central_headers(ARCHIVE):
        both = bytearray(ARCHIVE)
        both[header + 20 : header + 28] = struct.pack("<II", n_bytes, n_bytes)
        assert_unreadable(bytes(both), message)
        one = bytearray(ARCHIVE)
        one[header + 24 : header + 28] = struct.pack("<I", n_bytes)
        assert_unreadable(bytes(one), "is not compressed, but has two sizes")


def test_overlapping_entries_are_refused() -> None:
    """Many names for one content."""
    files = files_of(ARCHIVE)
    for i in range(50):
        files[f"more{i}.pth"] = files["policy.pth"]
    archive = bytearray(zipped(files))
    headers = central_headers(bytes(archive))
    place_of_first = archive[headers[0] + 42 : headers[0] + 46]
    for header in headers[1:]:
        archive[header + 42 : header + 46] = place_of_first
    assert_unreadable(bytes(archive), "damaged")


def test_encrypted_entries_are_refused() -> None:
    locked = bytearray(ARCHIVE)
    locked[central_headers(ARCHIVE)[0] + 8] |= 1
    assert_unreadable(bytes(locked), "is encrypted")


def test_a_zip_within_a_zip_stays_hidden() -> None:
    """PyTorch finds the directory by a pointer that Python does not read: the two see different entries."""
    shown, hidden = files_of(ARCHIVE)["policy.pth"], tensors({"hidden": th.ones(3)})
    n_tail = END_OF_CENTRAL_DIRECTORY + ZIP64_LOCATOR
    hidden_end = len(hidden) - n_tail - ZIP64_END
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, hidden_end, 1)
    both = hidden[:-n_tail] + shown[:-n_tail] + locator + shown[-END_OF_CENTRAL_DIRECTORY:]
    assert files_of(both) == files_of(shown)
    assert th.load(io.BytesIO(both), weights_only=True).keys() == {"hidden"}
    assert_same_model(load(with_file(ARCHIVE, "policy.pth", both)), SMALL)
