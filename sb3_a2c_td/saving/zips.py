"""Checks zips and reads them into memory before anything in them is interpreted."""

import io
import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

from stable_baselines3.common.save_util import open_path

from sb3_a2c_td.saving.errors import UnreadableCheckpointError, naming_file
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
    :raises UnreadableCheckpointError: if it is not a zip, or does not fit into memory
    :raises FileNotFoundError: if there is no such file
    """
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


def read_entries(content: bytes, names: re.Pattern[str]) -> dict[str, bytes]:
    """Read all entries of a zip, whose checksums ``zipfile`` checks.

    :param content: the zip
    :param names: the names that entries may have
    :return: the contents by name
    :raises UnreadableCheckpointError: if the zip is damaged, or has entries with other names
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, names, len(content))
            return {entry.filename: archive.read(entry) for entry in entries}
    except UnreadableCheckpointError:
        raise
    except ZIP_DAMAGE as error:
        raise _damaged(error) from error


def _check_entries(entries: list[zipfile.ZipInfo], names: re.Pattern[str], n_bytes: int) -> None:
    """Check the zip's directory: names and sizes must be those of uncompressed entries, as SB3 and PyTorch write them.

    :param n_bytes: the size of the zip
    """
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not names.fullmatch(name):
            raise UnreadableCheckpointError(
                f"it is damaged, or not a saved model: it has an entry {name[:80]!r}, which saved models do not have"
            )
        if name in seen:
            raise UnreadableCheckpointError(f"it has several entries {name!r}")
        seen.add(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnreadableCheckpointError(f"its entry {name!r} is compressed, which saved models are not")
        if entry.flag_bits & ENCRYPTED:
            raise UnreadableCheckpointError(f"its entry {name!r} is encrypted, which saved models are not")
    if sum(entry.file_size for entry in entries) > n_bytes:
        raise UnreadableCheckpointError("its entries are larger than the file itself")


def write_entries(files: Mapping[str, bytes]) -> bytes:
    """Return a zip with these entries, uncompressed.

    :param files: the contents by name
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
