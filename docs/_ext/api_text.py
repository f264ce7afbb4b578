"""Corrections to what autodoc writes about types, fields and commands."""

import inspect
import re

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
NO_WRAP = "\b"
"""the line that tells Typer not to wrap the next paragraph"""
COMMANDS = "sb3_a2c_td.cli"
TERMINAL_CODE = re.compile(r"(?<![`:])`([^`]+)`(?!`)")
"""code in single backquotes, as the commands' help shows it"""


def name_array_like(app: Sphinx, domain: str, object_type: str, content: nodes.Element) -> None:
    """Write ``ArrayLike`` by its name instead of the dozen types in its union."""
    for annotations in app.env.current_document.autodoc_annotations.values():
        for name, annotation in annotations.items():
            annotations[name] = annotation.replace(ARRAY_LIKE, "~numpy.typing.ArrayLike")


def edit_docstring(app: Sphinx, kind: str, name: str, symbol: object, options: object, lines: list[str]) -> None:
    """Drop the field numbers of named tuples, and show options and examples of commands verbatim."""
    lines[:] = [line for line in lines if not line.startswith("Alias for field number")]
    if name.startswith(COMMANDS):
        lines[:] = [TERMINAL_CODE.sub(r"``\1``", line) for line in lines]
    if NO_WRAP in lines:
        start = lines.index(NO_WRAP)
        lines[start : start + 2] = [f"{lines[start + 1]}:", ""]


def skip_private_alias(app: Sphinx, kind: str, name: str, symbol: object, skip: bool, options: object) -> bool | None:
    """Skip public names of private methods, such as ``update = _refuse``."""
    return True if getattr(symbol, "__name__", "").startswith("_") else None


def restore_constructor_types(
    app: Sphinx, kind: str, name: str, symbol: type, options: object, signature: str, returns: str
) -> None:
    """Restore the types of a constructor's arguments, which attributes with the same names replace."""
    if kind != "class":
        return
    annotations = app.env.current_document.autodoc_annotations[name]
    for argument in inspect.signature(symbol.__init__).parameters.values():  # type: ignore[misc]
        if argument.name in annotations:
            annotations[argument.name] = stringify_annotation(argument.annotation, "smart")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect the corrections to autodoc's events."""
    # before autodoc puts the types into the text
    app.connect("object-description-transform", name_array_like, priority=400)
    app.connect("autodoc-process-docstring", edit_docstring)
    app.connect("autodoc-skip-member", skip_private_alias)
    # after autodoc has recorded the types
    app.connect("autodoc-process-signature", restore_constructor_types, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
