"""Files are written atomically."""

import errno
import os
import resource
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sb3_a2c_td.saving import atomic


def test_writes_the_content_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    atomic.write(b"one", path)
    atomic.write(memoryview(b"two"), path)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    atomic.write(b"one", target)
    link.symlink_to(target)
    atomic.write(b"two", link)
    assert link.is_symlink()
    assert target.read_bytes() == b"two"


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


def test_old_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "file[1]"
    old, young, other = (tmp_path / f".{name}.abc.unfinished" for name in ("file[1]", "file[1]", "file1"))
    young = young.with_name(".file[1].def.unfinished")
    for leftover in (old, young, other):
        leftover.write_bytes(b"half")
    long_ago = time.time() - 2 * atomic.ABANDONED_SECONDS
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    atomic.write(b"content", path)
    assert set(tmp_path.iterdir()) == {path, young, other}


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


def test_a_folder_with_the_name_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError, match="nothing was saved"):
        atomic.write(b"new", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
