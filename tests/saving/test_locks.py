"""Files are reserved by one process at a time."""

import errno
import os
import signal
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sb3_a2c_td.saving import locks
from sb3_a2c_td.saving.locks import LockedError, reserved

# of Python 3.12 and newer
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def hold(path: Path, pipe: Connection) -> None:
    with reserved(path):
        pipe.send("reserved")
        pipe.recv()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[ForkProcess, Connection]]:
    """A process that has reserved a file, and a pipe that ends it."""
    here, there = Pipe()
    process = ForkProcess(target=hold, args=(tmp_path / "file", there))
    process.start()
    assert here.recv() == "reserved"
    yield process, here
    process.kill()
    process.join()


def test_a_file_that_another_process_reserved_is_refused(
    holder: tuple[ForkProcess, Connection], tmp_path: Path
) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        with (
            pytest.raises(LockedError, match=rf"file: process {holder[0].pid} on \S+ is training .*; wait"),
            reserved(name),
        ):
            pass
    with reserved(tmp_path / "other"):
        pass


@pytest.mark.parametrize("signum", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_reservation_ends_with_its_process(
    signum: int | None, holder: tuple[ForkProcess, Connection], tmp_path: Path
) -> None:
    process, pipe = holder
    if signum is None:
        pipe.send("end")
    else:
        os.kill(process.pid, signum)
    process.join()
    with reserved(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_thread_cannot_reserve_the_file_of_another_thread(tmp_path: Path) -> None:
    errors = []

    def reserve() -> None:
        try:
            with reserved(tmp_path / "file"):
                pass
        except LockedError as error:
            errors.append(error)

    with reserved(tmp_path / "file"):
        thread = Thread(target=reserve)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_a_lock_that_its_holder_removes_meanwhile_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that opened the file before would hold a lock that nobody else sees."""
    lock_path, try_lock = tmp_path / ".file.lock", locks.try_lock
    inodes = []

    def removed_before(file: Any) -> bool:
        inodes.append(os.fstat(file.fileno()).st_ino)
        if len(inodes) == 1:
            lock_path.unlink()
        return try_lock(file)

    monkeypatch.setattr(locks, "try_lock", removed_before)
    with reserved(tmp_path / "file"):
        assert lock_path.stat().st_ino == inodes[-1]
        assert len(inodes) == 2


def test_without_locks_nothing_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with reserved(tmp_path / "file"), reserved(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []
