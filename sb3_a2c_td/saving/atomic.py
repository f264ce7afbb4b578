"""Files that are written whole or not at all."""

import glob
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 3600.0
"""when nothing was written to an unfinished file for so long, whoever wrote it was killed"""


def write(content: bytes | memoryview, path: Path) -> None:
    """Write a file so that whoever reads it, at any time and after any crash, finds the old content or the new one.

    The content is written beside it, brought to the disk, and then renamed. Folders that are missing are made.

    :param content: what the file is to hold
    :param path: the file; of a symbolic link, what it leads to
    :raises OSError: if it cannot be written, for want of space or of permission, say; the file is then as it was
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
        reason = f"{error.strerror}; nothing was saved, and what was there before is untouched"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    _bring_to_disk(path.parent)


def _remove_abandoned(path: Path) -> None:
    """Remove what processes left that were killed while they wrote a file."""
    for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        with suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > ABANDONED_SECONDS:
                unfinished.unlink()


def _bring_to_disk(folder: Path) -> None:
    """Let the renaming outlive a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
