"""``inspect``: show what a saved model holds, without running code from it."""

import reprlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.saving.errors import MAX_MESSAGE, printable
from sb3_a2c_td.saving.inspection import SPACES, Contents, read_contents

MAX_LENGTH = 300
"""the number of characters shown of one value"""
MAX_BITS = 1000
"""the size of the largest integer whose digits are shown; Python refuses to convert much larger ones"""
MAX_PARTS = 2000
"""the number of parts shown of one value: numbers, texts, and lists of them"""
MAX_ROWS = 500
"""the number of rows shown of one table"""
PIPED_WIDTH = 160
"""the width of lines that are not written to a terminal"""


def inspect(path: Annotated[Path, typer.Argument(metavar="ZIP", help="The saved model.")]) -> None:
    """Show what a saved model holds: versions, spaces, settings, networks, sizes.

    It runs no code from the file, so untrusted files are safe to inspect. The model may be of any SB3 algorithm. What
    cannot be shown without running code is listed, with the function or class that it asks for.

    \b
    Examples:
      sb3-a2c-td inspect tda2c_CartPole-v1.zip
      sb3-a2c-td inspect tda2c_CartPole-v1.zip | less
    """
    with usage_errors.reported():
        contents = read_contents(path)
    # text from the file is shown literally, not as markup
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, emoji=False, highlight=False)
    console.print(f"{printable(str(path), MAX_MESSAGE)}: {_summary(contents)}")
    for table in _tables(contents):
        if table.row_count > 0:
            console.print()
            console.print(table)


def _summary(contents: Contents) -> str:
    saved_by = "TDA2C" if contents.is_of_tda2c else "saved by another algorithm (the file does not say which)"
    return f"{saved_by}, {_shown(contents.attributes.get('num_timesteps', 'unknown'))} steps trained"


def _tables(contents: Contents) -> Iterable[Table]:
    attributes = contents.attributes
    yield _table("Saved with", (), contents.versions.items())
    yield _table("Spaces", (), ((name, attributes[name]) for name in SPACES if name in attributes))
    yield _table("Settings", (), contents.settings.items())
    yield _table("Not shown, since it could run code", ("what", "asks for"), contents.unread.items())
    yield _table(
        "Networks", ("network", "parameters"), ((name, f"{n:,}") for name, n in contents.network_sizes.items())
    )
    yield _table(
        "Tensors of the policy",
        ("name", "shape", "dtype"),
        (
            (name, str(tuple(tensor.shape)), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in contents.tensors.get("policy.pth", {}).items()
        ),
    )
    yield _table(
        "Entries of the zip",
        ("entry", "bytes", "tensors"),
        ((name, f"{size:,}", len(contents.tensors.get(name, {})) or "") for name, size in contents.sizes.items()),
    )


def _table(title: str, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=bool(header), show_edge=False)
    for name in header or ("", ""):
        is_number = name in ("parameters", "bytes", "tensors")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    rows = list(rows)
    for row in rows[:MAX_ROWS]:
        table.add_row(*map(_shown, row))
    if len(rows) > MAX_ROWS:
        table.add_row(f"{len(rows) - MAX_ROWS:,} more rows")
    return table


class _ShortRepr(reprlib.Repr):
    """Shows values of any length and depth, shortened."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = 40
        self.maxstring = self.maxlong = self.maxother = MAX_LENGTH
        self._n_parts_left = MAX_PARTS

    def repr1(self, x: Any, level: int) -> str:
        """Return a class's full name, and the shortened ``repr`` of anything else."""
        self._n_parts_left -= 1
        if self._n_parts_left < 0:
            return self.fillvalue
        return f"{x.__module__}.{x.__qualname__}" if isinstance(x, type) else super().repr1(x, level)

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits of an integer, or its length if that is large."""
        n_bits = x.bit_length()
        return super().repr_int(x, level) if n_bits <= MAX_BITS else f"an integer of {n_bits:,} bits"


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else _ShortRepr().repr(value), MAX_LENGTH)
