"""Files are written atomically."""

import errno
import os
import resource
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from sb3_a2c_td.saving import atomic
from tests.saving.models import small


def test_writes_the_content_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    atomic.write(b"one", path)
    atomic.write(memoryview(b"two"), path)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_save_keeps_a_symbolic_link_and_writes_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "target", tmp_path / "link.zip"
    atomic.write(b"one", target)
    link.symlink_to(target)
    small().save(link)
    assert link.is_symlink()
    assert zipfile.is_zipfile(target)


def test_a_symbolic_link_is_replaced_without_the_mode_of_its_target(tmp_path: Path) -> None:
    target, link, new = tmp_path / "target", tmp_path / "link", tmp_path / "new"
    target.write_bytes(b"one")
    target.chmod(0o777)
    link.symlink_to(target)
    for path in (link, new):
        atomic.write(b"two", path)
    assert not link.is_symlink()
    assert (target.read_bytes(), link.read_bytes()) == (b"one", b"two")
    assert link.stat().st_mode == new.stat().st_mode


def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        atomic.write(b"one", path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        atomic.write(b"two", path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_folders_that_cannot_be_flushed_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is in place by then."""
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, "in this test")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    error = errno.EINVAL
    atomic.write(b"content", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"content"
    # a failing disk is one
    error = errno.EIO
    with pytest.raises(OSError, match="in this test"):
        atomic.write(b"content", tmp_path / "file")


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "file[1]"
    abandoned, other = tmp_path / ".file[1].abc.unfinished", tmp_path / ".file1.abc.unfinished"
    for leftover in (abandoned, other):
        leftover.write_bytes(b"half")
    atomic.write(b"content", path)
    assert set(tmp_path.iterdir()) == {path, other}


@pytest.mark.parametrize("seconds", [-1e7, 1e7])
def test_the_file_of_a_running_save_is_never_removed_whatever_the_clock_says(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "file"
    with atomic._unfinished(path) as (unfinished, file):
        file.write(b"half")
        file.flush()
        os.utime(unfinished, (time.time() + seconds,) * 2)
        atomic.write(b"content", path)
        assert set(tmp_path.iterdir()) == {path, unfinished}


@pytest.mark.parametrize("order", ["locked first", "removed first"])
def test_a_file_that_is_removed_before_it_is_locked_is_replaced(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another save began at this moment."""
    path, calls = tmp_path / "file", []

    def interrupted(file: BinaryIO) -> bool:
        calls.append(file)
        if len(calls) > 1:
            return try_lock(file)
        if order == "removed first":
            atomic._remove_abandoned(path)
            assert list(tmp_path.iterdir()) == []
            return try_lock(file)
        with next(tmp_path.iterdir()).open("rb") as same_file:
            assert try_lock(same_file)
            locked = try_lock(file)
            Path(file.name).unlink()
        return locked

    try_lock = atomic.try_lock
    monkeypatch.setattr(atomic, "try_lock", interrupted)
    atomic.write(b"content", path)
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def no_locks(*args: Any) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def test_without_locks_files_are_written_and_none_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, unfinished = tmp_path / "file", tmp_path / ".file.abc.unfinished"
    unfinished.write_bytes(b"half")
    monkeypatch.setattr("fcntl.flock", no_locks)
    atomic.write(b"content", path)
    assert path.read_bytes() == b"content"
    assert set(tmp_path.iterdir()) == {path, unfinished}


@pytest.fixture
def _small_files() -> Iterator[None]:
    """Limit files to 1,000 bytes, so that writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_small_files")
def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write(b"old", path)
    with pytest.raises(OSError, match="nothing was saved, and an earlier file is unchanged") as raised:
        atomic.write(bytes(2000), path)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder with a file in it where this process, even as root, has no permission to write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").write_bytes(b"old")
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_read_only_folder_leaves_the_earlier_file(read_only_folder: Path) -> None:
    path = read_only_folder / "file"
    with pytest.raises(PermissionError, match="nothing was saved") as raised:
        atomic.write(b"new", path)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(read_only_folder.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_found_out_without_writing_it(read_only_folder: Path) -> None:
    with pytest.raises(PermissionError, match="nothing can be saved here: use another file"):
        atomic.check_writable(read_only_folder / "file")


def test_checking_a_file_leaves_it_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    atomic.check_writable(path)
    assert list(path.parent.iterdir()) == []
    path.write_bytes(b"old")
    atomic.check_writable(path)
    assert path.read_bytes() == b"old"
    with pytest.raises(IsADirectoryError, match="nothing can be saved here: use another file"):
        atomic.check_writable(path.parent)


def test_a_folder_with_the_name_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError, match="nothing was saved"):
        atomic.write(b"new", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
