"""Where commands write their files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def name_in_files(env_id: str) -> str:
    """Return an environment's name as a part of a file's name.

    :param env_id: the environment's name
    :return: the name without characters that separate folders or modules
    """
    return env_id.replace("/", "-").replace(":", "-")


@contextmanager
def new_file(stem: str, suffix: str) -> Iterator[Path]:
    """Reserve the name of a new file, also against commands that run at the same time.

    The name is reserved by an empty file. If nothing was written to it when the context ends, it is removed.

    :param stem: the file's name; a number is appended if a file of this name exists
    :param suffix: what follows the number
    :return: the file
    :raises OSError: if the current folder is not writable
    """
    path = _make_new(stem, suffix, lambda path: path.touch(exist_ok=False))
    try:
        yield path
    finally:
        with suppress(FileNotFoundError):
            if path.stat().st_size == 0:
                path.unlink()


def new_folder(stem: str) -> Path:
    """Make a new folder, whose name no other command can take.

    :param stem: the folder's name; a number is appended if it exists
    :return: the folder
    :raises OSError: if the current folder is not writable
    """
    return _make_new(stem, "", Path.mkdir)


def _make_new(stem: str, suffix: str, make: Callable[[Path], None]) -> Path:
    path, number = Path(f"{stem}{suffix}"), 1
    while True:
        try:
            make(path)
            return path
        except FileExistsError:
            number += 1
            path = Path(f"{stem}_{number}{suffix}")


def writable_folder(folder: Path, option: str) -> Path:
    """Make a folder, unless it exists.

    :param folder: the folder
    :param option: the option that named it, for the error
    :return: the folder
    :raises ValueError: if the folder is not writable
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"{option} {folder}: this folder cannot be written to; name another one")
    return folder
