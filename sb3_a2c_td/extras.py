"""The optional dependencies, which extras of the package install."""

from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = "pip install '.[{}]'  # in a clone of sb3-a2c-td"
"""installs an extra, in a shell, too; to be changed when a package index has a release"""


def install(extra: str) -> str:
    """Return the command that installs an extra.

    :param extra: its name
    """
    return COMMAND.format(extra)


@contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Add to import errors how to install what is missing: ``with needed("export", "exporting"): import onnx``.

    :param extra: the extra that has it
    :param purpose: what needs it
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}: {purpose} needs it, {install(extra)}") from error
