"""Where commands write."""

import os
from collections.abc import Callable
from pathlib import Path


def name_in_files(env_id: str) -> str:
    """Give the part of a file's name that says the environment.

    :param env_id: the environment's name
    """
    return env_id.replace("/", "-").replace(":", "-")


def new_file(stem: str, suffix: str) -> Path:
    """Make an empty file that was not there yet, so that nothing earlier is lost, nor anyone else's.

    :param stem: its name, to which a number is added where it is taken
    :param suffix: what comes after the number
    """
    return _new(stem, suffix, lambda path: path.touch(exist_ok=False))


def new_folder(stem: str) -> Path:
    """Make a folder that was not there yet, not even for a command that started at the same time.

    :param stem: its name, to which a number is added where it is taken
    """
    return _new(stem, "", Path.mkdir)


def _new(stem: str, suffix: str, make: Callable[[Path], None]) -> Path:
    path, number = Path(f"{stem}{suffix}"), 1
    while True:
        try:
            make(path)
            return path
        except FileExistsError:
            number += 1
            path = Path(f"{stem}_{number}{suffix}")


def writable_folder(folder: Path, option: str) -> Path:
    """Make a folder, if it is not there.

    :param folder: the folder
    :param option: what the user named it with, for the error
    :return: the folder
    :raises ValueError: if nothing can be written in it
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"{option} {folder}: nothing can be written there; name another place")
    return folder
