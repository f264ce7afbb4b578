"""The errors raised for saved files that cannot or must not be loaded."""

import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

from sb3_a2c_td.saving.paths import PathOrFile, file_name

MAX_MESSAGE = 2000
"""maximum length of an error message that quotes from a file"""


class UntrustedCheckpointError(ValueError):
    """The file asks for more than saved models need, so loading it could run code from it."""


class UnreadableCheckpointError(ValueError):
    """The file is damaged, holds no TDA2C model, or was saved by a newer version of this package."""


class NotAllowedError(Exception):
    """A pickle asks for something that is not allowed.

    The message names it as the object of a sentence: ``"os.system"``, ``"a call of builtins.eval"``.
    """


def require(condition: bool, otherwise: str) -> None:
    """Check a condition that intact files fulfil.

    :param condition: the condition
    :param otherwise: the error's message, which describes the damage
    :raises ValueError: if the condition is false
    """
    if not condition:
        raise ValueError(otherwise)


def printable(text: str, length: int) -> str:
    """Replace the unprintable characters of a text, so that a file cannot send control sequences to the terminal.

    :param text: the text
    :param length: maximum length; the rest is cut off
    """
    return "".join(char if char.isprintable() else "?" for char in text[:length])


def printable_lines(text: str, length: int) -> str:
    """Do the same as :func:`printable`, but keep line breaks.

    :param text: the text
    :param length: maximum length; the rest is cut off
    """
    return "\n".join(printable(line, length) for line in text[:length].split("\n"))


def require_regular(path: str | pathlib.Path) -> None:
    """Check that a path is not that of a device or a pipe, from which reading may never end.

    :param path: the path
    :raises UnreadableCheckpointError: if it is
    """
    path = pathlib.Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UnreadableCheckpointError(f"{path}: it is not a regular file")


@contextmanager
def naming_file(path: PathOrFile) -> Iterator[None]:
    """Put the file's name in front of the messages of both checkpoint errors.

    :param path: the file
    """
    try:
        yield
    except (UntrustedCheckpointError, UnreadableCheckpointError) as error:
        raise type(error)(printable(f"{file_name(path)}: {error}", MAX_MESSAGE)) from error.__cause__
