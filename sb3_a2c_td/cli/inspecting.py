"""What ``inspect`` shows, computed without running code from the file."""

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePath
from types import NoneType
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from rich import box
from rich.console import Console
from rich.table import Table

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.saving.errors import MAX_MESSAGE, printable
from sb3_a2c_td.saving.inspection import SPACES, Contents, read_contents
from sb3_a2c_td.saving.unpickling.allowed_types import SCHEDULES

MAX_LENGTH = 300
"""the number of characters shown of one value"""
MAX_BITS = 1000
"""the size of the largest integer whose digits are shown; Python refuses to convert much larger ones"""
MAX_NUMBERS = 10
"""the number of numbers shown of one array"""
MAX_DEPTH = 6
"""the depth up to which lists in lists are shown"""
MAX_ROWS = 500
"""the number of rows shown of one table"""
MAX_CHARACTERS = 200_000
"""the number of characters shown of all values together"""
BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    deque: ("deque([", "])"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
"""what is written around the items of a container"""
SHORT = (
    *(int, float, complex, NoneType, np.generic, np.dtype, th.dtype, th.device, spaces.Space),
    *(date, time, timedelta, timezone, Decimal, PurePath),
    *SCHEDULES,
)
"""types whose ``repr`` is short, and takes little time"""
PIPED_WIDTH = 160
"""the width of lines that are not written to a terminal"""


def show(path: Path) -> None:
    """Print what a saved model holds.

    :param path: the zip
    """
    with usage_errors.reported():
        contents = read_contents(path)
    # text from the file is shown literally, not as markup
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, emoji=False, highlight=False)
    printer = _Printer()
    # rich would exit by itself if nobody reads its output
    with console.capture() as text:
        console.print(f"{printable(str(path), MAX_MESSAGE)}: {_summary(contents, printer)}")
        for table in _tables(contents, printer):
            if table.row_count > 0:
                console.print()
                console.print(table)
    print(text.get(), end="")


def _summary(contents: Contents, printer: "_Printer") -> str:
    saved_by = "TDA2C" if contents.is_of_tda2c else "saved by another algorithm (the file does not say which)"
    return f"{saved_by}, {printer.shown(contents.attributes.get('num_timesteps', 'unknown'))} steps trained"


def _tables(contents: Contents, printer: "_Printer") -> Iterator[Table]:
    attributes = contents.attributes
    yield _table(printer, "Saved with", (), contents.versions.items())
    yield _table(printer, "Spaces", (), ((name, attributes[name]) for name in SPACES if name in attributes))
    yield _table(printer, "Settings", (), contents.settings.items())
    yield _table(printer, "Not shown, since it could run code", ("what", "asks for"), contents.unread.items())
    sizes = ((name, f"{n:,}") for name, n in contents.network_sizes.items())
    yield _table(printer, "Networks", ("network", "parameters"), sizes)
    tensors = (
        (name, str(tuple(tensor.shape)), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in contents.tensors.get("policy.pth", {}).items()
    )
    yield _table(printer, "Tensors of the policy", ("name", "shape", "dtype"), tensors)
    entries = ((name, f"{size:,}", len(contents.tensors.get(name, {})) or "") for name, size in contents.sizes.items())
    yield _table(printer, "Entries of the zip", ("entry", "bytes", "tensors"), entries)


def _table(printer: "_Printer", title: str, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=bool(header), show_edge=False)
    for name in header or ("", ""):
        is_number = name in ("parameters", "bytes", "tensors")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    rows = list(rows)
    for row in rows[:MAX_ROWS]:
        if printer.is_full:
            break
        table.add_row(*map(printer.shown, row))
    if len(rows) > table.row_count:
        table.add_row(f"{len(rows) - table.row_count:,} more rows")
    return table


class _Printer:
    """Shows values of any length and depth, shortened. All that it shows has one budget."""

    def __init__(self) -> None:
        self._n_left = MAX_CHARACTERS

    @property
    def is_full(self) -> bool:
        """Whether the budget is spent."""
        return self._n_left <= 0

    def shown(self, value: Any) -> str:
        """Return a value as text that controls no terminal.

        :param value: the value
        """
        max_length = min(MAX_LENGTH, self._n_left)
        text = ""
        # no more than what is shown is computed
        for piece in (value,) if isinstance(value, str) else _pieces(value):
            text += piece[: max_length + 1]
            if len(text) > max_length:
                break
        self._n_left -= len(text)
        return printable(text, max_length)


def _pieces(value: Any, depth: int = 0) -> Iterator[str]:
    """Return the ``repr`` of a value piece by piece, each in little time."""
    if depth > MAX_DEPTH:
        yield "..."
    elif isinstance(value, dict):
        yield from _joined("{", (_item(key, item, depth) for key, item in value.items()), "}")
    elif isinstance(value, list | tuple | deque | set | frozenset):
        left, right = next(brackets for kind, brackets in BRACKETS.items() if isinstance(value, kind))
        yield from _joined(left, (_pieces(item, depth + 1) for item in value), right)
    elif isinstance(value, spaces.Dict):
        yield "Dict"
        yield from _pieces(dict(value.spaces), depth)
    else:
        yield _leaf(value)


def _item(key: Any, item: Any, depth: int) -> Iterator[str]:
    yield from _pieces(key, depth + 1)
    yield ": "
    yield from _pieces(item, depth + 1)


def _joined(left: str, items: Iterable[Iterator[str]], right: str) -> Iterator[str]:
    yield left
    for i, item in enumerate(items):
        if i > 0:
            yield ", "
        yield from item
    yield right


def _leaf(value: Any) -> str:
    match value:
        case str() | bytes() | bytearray():
            return repr(value[:MAX_LENGTH])
        case int() if value.bit_length() > MAX_BITS:
            return f"an integer of {value.bit_length():,} bits"
        case type():
            return f"{value.__module__}.{value.__qualname__}"
        case np.ndarray() | th.Tensor():
            numbers = _numbers(value)
            return f"{value.dtype} of shape {tuple(value.shape)}{': ' if numbers else ''}{numbers}"
        case spaces.Box():
            return f"Box({_bound(value.low)}, {_bound(value.high)}, {value.shape}, {value.dtype})"
        case spaces.MultiDiscrete() if value.nvec.size > MAX_NUMBERS:
            return f"MultiDiscrete([{_numbers(value.nvec)}])"
        case _ if isinstance(value, SHORT):
            return repr(value)
    return f"a {type(value).__name__}"


def _bound(bound: np.ndarray) -> str:
    return str(bound.flat[0]) if bound.size > 0 and (bound == bound.flat[0]).all() else f"[{_numbers(bound)}]"


def _numbers(array: np.ndarray | th.Tensor) -> str:
    """Return the first numbers of an array."""
    if 0 in array.shape:
        return ""
    first = array[(0,) * (array.ndim - 1)] if array.ndim > 1 else array.reshape(-1)
    numbers = ", ".join(map(str, first[:MAX_NUMBERS].tolist()))
    return numbers if math.prod(array.shape) <= len(first[:MAX_NUMBERS]) else f"{numbers}, ..."
