"""Locks of files, which end with the process that holds them, however it ends."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


class LockedError(RuntimeError):
    """Another process or thread holds the lock of a file."""


def try_lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed, without waiting.

    :param file: the file
    :return: whether this call locked it; otherwise it was opened and locked elsewhere, in this process or in another
    :raises OSError: if the system or the file system has no locks
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def reserved(path: Path) -> Iterator[None]:
    """Reserve the name of a file that a training will write, by a locked file next to it.

    Where the file system has no locks, nothing is reserved.

    :param path: the file
    :raises LockedError: if another training has reserved it
    :raises OSError: if the folder cannot be written
    """
    path = Path(os.path.realpath(path))
    lock_path = path.with_name(f".{path.name}.lock")
    with _open_locked(lock_path, path) as file:
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            yield
        finally:
            with suppress(OSError):
                lock_path.unlink()


def _open_locked(lock_path: Path, path: Path) -> BinaryIO:
    while True:
        file = lock_path.open("a+b")
        try:
            is_locked = try_lock(file)
        except OSError:
            return file
        if not is_locked:
            raise _locked_error(path, file)
        if _is_at(lock_path, file):
            return file
        # its last holder removed it after it was opened
        file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _locked_error(path: Path, lock: BinaryIO) -> LockedError:
    with lock:
        lock.seek(0)
        holder = lock.read(200).decode(errors="replace") or "another process"
    return LockedError(f"{path}: {holder} is training the model in this file; wait until it ends, or use another file")
