"""The paths of saved models."""

import io
import pathlib

PathOrFile = str | pathlib.Path | io.BufferedIOBase
"""a path, with or without ``.zip``, or an open binary file"""


def zip_path(path: str | pathlib.Path) -> pathlib.Path:
    """Return the path that a model is saved to: ``.zip`` is added if there is no suffix, as in SB3.

    :param path: the path given to ``save``
    """
    path = pathlib.Path(path)
    return path if path.suffix else path.with_name(f"{path.name}.zip")


def file_name(path: PathOrFile) -> str:
    """Return the name of a file for messages.

    :param path: the path or the open file
    """
    if isinstance(path, str | pathlib.Path):
        return str(path)
    return str(getattr(path, "name", "the file"))
