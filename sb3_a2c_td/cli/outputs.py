"""Where commands write."""

import os
from pathlib import Path


def name_in_files(env_id: str) -> str:
    """Give the part of a file's name that says the environment.

    :param env_id: the environment's name
    """
    return env_id.replace("/", "-").replace(":", "-")


def new_path(stem: str, suffix: str = "") -> Path:
    """Name a file or folder that is not there yet, so that nothing earlier is lost.

    :param stem: its name, to which a number is added where it is taken
    :param suffix: what comes after the number
    """
    path, n = Path(f"{stem}{suffix}"), 1
    while path.exists():
        n += 1
        path = Path(f"{stem}_{n}{suffix}")
    return path


def new_folder(stem: str) -> Path:
    """Make a folder that was not there yet, not even for a command that started at the same time.

    :param stem: its name, to which a number is added where it is taken
    """
    path, n = Path(stem), 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            n += 1
            path = Path(f"{stem}_{n}")


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
