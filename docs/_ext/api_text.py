"""What autodoc makes of types, fields and commands, mended."""

import inspect
import re

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
AS_IT_STANDS = "\b"
"""the line that tells Typer not to wrap the next paragraph"""
COMMANDS = "sb3_a2c_td.cli"
CODE_IN_A_TERMINAL = re.compile(r"(?<![`:])`([^`]+)`(?!`)")
"""as the commands' help shows it"""


def name_array_like(app: Sphinx, domain: str, object_type: str, content: nodes.Element) -> None:
    """Write ``ArrayLike`` by its name, not by the dozen types that it stands for."""
    for annotations in app.env.current_document.autodoc_annotations.values():
        for name, annotation in annotations.items():
            annotations[name] = annotation.replace(ARRAY_LIKE, "~numpy.typing.ArrayLike")


def mend_docstring(app: Sphinx, kind: str, name: str, symbol: object, options: object, lines: list[str]) -> None:
    """Leave out the numbers of named tuples' fields, and show commands' options and examples as they stand."""
    lines[:] = [line for line in lines if not line.startswith("Alias for field number")]
    if name.startswith(COMMANDS):
        lines[:] = [CODE_IN_A_TERMINAL.sub(r"``\1``", line) for line in lines]
    if AS_IT_STANDS in lines:
        start = lines.index(AS_IT_STANDS)
        lines[start : start + 2] = [f"{lines[start + 1]}:", ""]


def take_types_of_the_constructor(
    app: Sphinx, kind: str, name: str, symbol: type, options: object, signature: str, returns: str
) -> None:
    """Give a class's arguments their own types, which attributes of the same names have hidden."""
    if kind != "class":
        return
    annotations = app.env.current_document.autodoc_annotations[name]
    for argument in inspect.signature(symbol.__init__).parameters.values():  # type: ignore[misc]
        if argument.name in annotations:
            annotations[argument.name] = stringify_annotation(argument.annotation, "smart")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect all of it."""
    # before autodoc puts the types into the text
    app.connect("object-description-transform", name_array_like, priority=400)
    app.connect("autodoc-process-docstring", mend_docstring)
    # after autodoc has noted the types
    app.connect("autodoc-process-signature", take_types_of_the_constructor, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
