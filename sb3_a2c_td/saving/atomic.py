"""Writes files atomically: after a crash or a kill, they have the old content or the new one."""

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sb3_a2c_td.saving.locks import try_lock

CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)
"""errors of file systems that cannot flush folders"""


def write(content: bytes | memoryview, path: Path) -> None:
    """Write a file atomically: at any time and after any crash, it has the old content or the new one.

    The content is written to a temporary file in the same folder, flushed to the disk, and then renamed. Missing
    folders are created.

    :param content: the content
    :param path: the file; it replaces a symbolic link, unless the path is that of the target (``os.path.realpath``)
    :raises OSError: if it cannot be written, because the disk is full, for example; the file is unchanged then
    """
    path = path.absolute()
    with _explained(path, "nothing was saved, and an earlier file is unchanged"), _unfinished(path) as (name, file):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if path.exists() and not path.is_symlink():
            shutil.copymode(path, name)
        if os.name != "posix":
            # Windows renames closed files only
            file.close()
        name.replace(path)
    _flush_folder(path.parent)


def check_writable(path: Path) -> None:
    """Check that :func:`write` can write a file, by creating and removing a temporary file next to it.

    :param path: the file; missing folders are created
    :raises OSError: if it cannot be written
    """
    path = Path(os.path.realpath(path))
    with _explained(path, "nothing can be saved here: use another file"):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _unfinished(path):
            pass


@contextmanager
def _explained(path: Path, consequence: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; {consequence}", str(path)) from error


@contextmanager
def _unfinished(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Create a temporary file next to a file, and remove it at the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    name, file = _create_locked(path)
    try:
        with file:
            yield name, file
    finally:
        with suppress(OSError):
            name.unlink(missing_ok=True)


def _create_locked(path: Path) -> tuple[Path, BinaryIO]:
    while True:
        name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
        file = name.open("xb")
        try:
            is_locked = try_lock(file) and name.exists()
        except OSError:
            # without locks, no process removes the files of others
            return name, file
        if is_locked:
            return name, file
        # another process removed it before it was locked
        file.close()


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of processes that were killed while writing this file."""
    for name in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        with suppress(OSError), name.open("r+b") as file:
            if try_lock(file):
                name.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush the folder to the disk, so that the renaming survives a power cut, where the file system can do that."""
    if os.name == "posix":
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            # the new file is in place, so this is no reason to report a failure
            if error.errno not in CANNOT_FLUSH:
                raise
