"""Checks zips and reads them into memory before anything in them is interpreted."""

import io
import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from stable_baselines3.common.save_util import open_path

from sb3_a2c_td.saving.errors import UnreadableCheckpointError, naming_file, require_regular
from sb3_a2c_td.saving.paths import PathOrFile

ENCRYPTED = 1
"""the bit of a zip entry's flags that marks it as encrypted"""

ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    MemoryError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""the exceptions that ``zipfile`` raises for damaged files"""


def read_zip(path: PathOrFile) -> bytes:
    """Read the bytes of a file that ends as zips do.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :raises UnreadableCheckpointError: if it is not a zip, not a regular file, or does not fit into memory
    :raises FileNotFoundError: if there is no such file
    """
    if isinstance(path, str | pathlib.Path):
        if pathlib.Path(path).is_dir() and pathlib.Path(f"{path}.zip").is_file():
            path = f"{path}.zip"
        for candidate in (path, f"{path}.zip"):
            require_regular(candidate)
    file = open_path(path, "r", suffix="zip")
    try:
        file.seek(0)
        with naming_file(path):
            return _read_zip(file)
    finally:
        if isinstance(path, str | pathlib.Path):
            file.close()


def _read_zip(file: io.BufferedIOBase) -> bytes:
    try:
        # checked first: a file of any other kind may be of any size
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("File is not a zip file")
        file.seek(0)
        return file.read()
    except zipfile.BadZipFile as error:
        raise _damaged(error) from error
    except MemoryError as error:
        raise UnreadableCheckpointError("it is damaged, or not a saved model: it does not fit into memory") from error


def _damaged(error: Exception) -> UnreadableCheckpointError:
    return UnreadableCheckpointError(
        f"it is damaged, or not a saved model ({type(error).__name__}: {error}); save it again, or download it again"
    )


class Rules(NamedTuple):
    """What a zip may contain."""

    names: re.Pattern[str]
    """the names that entries may have"""
    ignores_others: bool = False
    """whether entries with other names are left out; otherwise they are refused"""
    methods: tuple[int, ...] = (zipfile.ZIP_STORED,)
    """how entries may be packed"""
    max_growth: float = 1.0
    """the maximum size of all unpacked entries together, in multiples of the zip's"""
    way_out: str = "save it again, or download it again"
    """what the user can do if entries have other names or are too large"""


def read_entries(content: bytes, rules: Rules) -> dict[str, bytes]:
    """Read all entries of a zip, whose checksums ``zipfile`` checks.

    :param content: the zip
    :param rules: what it may contain
    :return: the contents by name
    :raises UnreadableCheckpointError: if the zip is damaged, or breaks a rule
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if rules.ignores_others:
                entries = [entry for entry in entries if rules.names.fullmatch(entry.filename)]
            _check_names(entries, rules)
            _check_packing(entries, rules)
            _check_sizes(entries, rules, len(content))
            return {entry.filename: _read_entry(archive, entry) for entry in entries}
    except UnreadableCheckpointError:
        raise
    except ZIP_DAMAGE as error:
        raise _damaged(error) from error


def is_intact(content: bytes, rules: Rules) -> bool:
    """Check whether :func:`read_entries` can read a zip.

    :param content: the zip
    :param rules: what it may contain
    """
    try:
        read_entries(content, rules)
    except UnreadableCheckpointError:
        return False
    return True


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        # without a size, it would unpack more than the entry says; with one byte more, it compares the checksum
        return file.read(entry.file_size + 1)


def _check_names(entries: list[zipfile.ZipInfo], rules: Rules) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not rules.names.fullmatch(name):
            raise UnreadableCheckpointError(
                f"it is damaged, or not a saved model: it has an entry {name[:80]!r}, which saved models do not have; "
                f"{rules.way_out}"
            )
        if name in seen:
            raise UnreadableCheckpointError(f"it has several entries {name!r}")
        seen.add(name)


def _check_packing(entries: list[zipfile.ZipInfo], rules: Rules) -> None:
    for entry in entries:
        name = entry.filename
        if entry.flag_bits & ENCRYPTED:
            raise UnreadableCheckpointError(f"its entry {name!r} is encrypted, which saved models are not")
        if entry.compress_type not in rules.methods:
            raise UnreadableCheckpointError(f"its entry {name!r} is compressed by an unsupported method")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise UnreadableCheckpointError(f"its entry {name!r} is not compressed, but has two sizes")


def _check_sizes(entries: list[zipfile.ZipInfo], rules: Rules, n_bytes: int) -> None:
    if sum(entry.compress_size for entry in entries) > n_bytes:
        raise UnreadableCheckpointError("its entries are larger than the file itself")
    if sum(entry.file_size for entry in entries) > rules.max_growth * n_bytes:
        raise UnreadableCheckpointError(f"its entries, unpacked, are much larger than the file itself; {rules.way_out}")


def write_entries(files: Mapping[str, bytes]) -> bytes:
    """Return a zip with these entries, uncompressed.

    :param files: the contents by name
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
