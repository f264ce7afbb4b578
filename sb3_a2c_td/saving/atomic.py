"""Writes files atomically: after a crash or a kill, they have the old content or the new one."""

import glob
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 3600.0
"""age at which an unfinished file must be from a process that was killed"""


def write(content: bytes | memoryview, path: Path) -> None:
    """Write a file atomically: at any time and after any crash, it has the old content or the new one.

    The content is written to a temporary file in the same folder, flushed to the disk, and then renamed. Missing
    folders are created.

    :param content: the content
    :param path: the file; a symbolic link stays, and its target is written
    :raises OSError: if it cannot be written, because the disk is full, for example; the file is unchanged then
    """
    path = Path(os.path.realpath(path))
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, unfinished)
        unfinished.replace(path)
    except OSError as error:
        reason = f"{error.strerror}; nothing was saved, and an earlier file is unchanged"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of processes that were killed while writing this file."""
    for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        with suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > ABANDONED_SECONDS:
                unfinished.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush the folder to the disk, so that the renaming survives a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
