"""Saved models, read with care: what is damaged or could run code is refused before anything is made of it."""

import base64
import io
import json
import pathlib
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.save_util import json_to_data, open_path

from sb3_a2c_td.saving import tensors
from sb3_a2c_td.saving.allowed import Refused
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving.unpickling import DAMAGE, loads
from sb3_a2c_td.version import __version__

FORMAT = 1
"""the newest version of saved models that this code knows"""

DATA = "data"
MANIFEST = "sb3_a2c_td.json"
TRAINING_STATE = "training_state.pkl"
TENSORS = r"[A-Za-z]\w*(\.[A-Za-z]\w*)*\.pth"
OUTER_NAMES = re.compile(
    rf"{DATA}|{TENSORS}|_stable_baselines3_version|system_info\.txt|{re.escape(MANIFEST)}|{re.escape(TRAINING_STATE)}",
    re.ASCII,
)
INNER_NAMES = re.compile(r"[\w-]+(/\.?[\w-]+)*(\.pkl)?", re.ASCII)
NEEDED = (DATA, "policy.pth", "policy.optimizer.pth")

ENV = "env"
"""an attribute that no model saves; SB3 would make the environment of that name, and import the module in it"""

MAX_MESSAGE = 2000

DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, MemoryError),
    *(LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError),
)
"""what ``zipfile`` raises over damaged files"""


class Checkpoint(NamedTuple):
    """A saved model that was read and checked, but of which no model was made yet."""

    file: io.BytesIO
    """what was checked, in zips written anew: one made for it shows PyTorch other things than it shows Python"""
    data: dict[str, Any]
    """the model's attributes"""
    training_state: bytes | None
    """a pickle of what else resuming a training needs"""
    network_size: int | None
    """the size of its networks, see :class:`~sb3_a2c_td.saving.tensors.NotMuchLarger`; ``None``: any"""


def read_checkpoint(
    path: str | pathlib.Path | io.BufferedIOBase,
    custom_objects: dict[str, Any] | None = None,
    trusted: bool = False,
    algorithm: type = OnPolicyAlgorithm,
) -> Checkpoint:
    """Read a saved model without running code that it holds.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param custom_objects: values to take in the place of attributes in the file, which are then not unpickled
    :param trusted: whether to unpickle whatever the file holds, which can run code; damage is noticed all the same
    :param algorithm: the class of the model, whose methods nothing in the file may replace
    :raises UntrustedCheckpointError: if the file holds what could run code, naming it
    :raises UnreadableCheckpointError: if it is damaged, of another algorithm, or of a newer version of this package
    :raises FileNotFoundError: if there is no such file
    """
    content = content_of(path)
    with naming(path):
        return _checked(content, custom_objects or {}, trusted, algorithm)


def read_attributes(path: str | pathlib.Path | io.BufferedIOBase, names: Iterable[str]) -> dict[str, Any]:
    """Read single attributes of a saved model. Nothing else in it is unpickled, so nothing else has to be trusted.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param names: the attributes; one that the file does not have is left out
    :raises UntrustedCheckpointError: if one of these could run code, naming it
    :raises UnreadableCheckpointError: if it is damaged, of another algorithm, or of a newer version of this package
    :raises FileNotFoundError: if there is no such file
    """
    content = content_of(path)
    with naming(path):
        attributes = _attributes(files_of(content, OUTER_NAMES))
        wanted = {name: attributes[name] for name in names if name in attributes}
        return _decoded(wanted, {}, OnPolicyAlgorithm)


@contextmanager
def naming(path: str | pathlib.Path | io.BufferedIOBase) -> Iterator[None]:
    """Name the file in errors over what it holds.

    :param path: the file
    """
    try:
        yield
    except (UntrustedCheckpointError, UnreadableCheckpointError) as error:
        raise type(error)(printable(f"{_name(path)}: {error}", MAX_MESSAGE)) from error.__cause__


def printable(text: str, length: int) -> str:
    """Give a text that a terminal can show, since names in a file are anyone's.

    :param text: the text
    :param length: the most characters of it
    """
    return "".join(char if char.isprintable() else "?" for char in text[:length])


def content_of(path: str | pathlib.Path | io.BufferedIOBase) -> bytes:
    """Read a zip, once its end was seen to be one's.

    :param path: the file, its name with or without ``.zip``, or an open one
    :raises UnreadableCheckpointError: if it is no zip, or larger than the memory
    """
    file = open_path(path, "r", suffix="zip")
    try:
        file.seek(0)
        with naming(path):
            return _zip_in(file)
    finally:
        if isinstance(path, str | pathlib.Path):
            file.close()


def _zip_in(file: io.BufferedIOBase) -> bytes:
    try:
        # not all of a file that may be of any size
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("File is not a zip file")
        file.seek(0)
        return file.read()
    except zipfile.BadZipFile as error:
        raise _damaged(error) from error
    except MemoryError as error:
        raise UnreadableCheckpointError("it is damaged, or no saved model: it is larger than the memory") from error


def _damaged(error: Exception) -> UnreadableCheckpointError:
    return UnreadableCheckpointError(
        f"it is damaged, or no saved model ({type(error).__name__}: {error}); save it again, or fetch it anew"
    )


def _name(path: Any) -> str:
    return str(path) if isinstance(path, str | pathlib.Path) else str(getattr(path, "name", "the file"))


def _checked(content: bytes, custom_objects: dict[str, Any], trusted: bool, algorithm: type) -> Checkpoint:
    files = files_of(content, OUTER_NAMES)
    attributes = _attributes(files)
    with_tensors = {name: inner_files(name, content) for name, content in files.items() if name.endswith(".pth")}
    if trusted:
        data, network_size = _unpickled_by_sb3(files[DATA], custom_objects), None
    else:
        data, network_size = _decoded(attributes, custom_objects, algorithm), _network_size(with_tensors)
    for name in ("observation_space", "action_space"):
        if not isinstance(data.get(name), spaces.Space):
            raise UnreadableCheckpointError(f"it is damaged: its {name} is no space of gymnasium")
    rewritten = _zipped({**files, **{name: _zipped(inner) for name, inner in with_tensors.items()}})
    return Checkpoint(io.BytesIO(rewritten), data, files.get(TRAINING_STATE), network_size)


def _attributes(files: dict[str, bytes]) -> dict[str, Any]:
    """Give what is saved of a model's attributes, without unpickling any."""
    _check_format(files)
    for name in NEEDED:
        if name not in files:
            raise UnreadableCheckpointError(f"it is damaged, or no saved model: it has no entry {name!r}")
    attributes = json_of(files[DATA], DATA)
    if "critic_learning_rate" not in attributes:
        raise UnreadableCheckpointError("another algorithm than TDA2C saved it: load it with that one")
    return attributes


# The zip


def files_of(content: bytes, names: re.Pattern[str]) -> dict[str, bytes]:
    """Read every entry of a zip, in memory, and so check that it is whole.

    :param content: the zip
    :param names: what entries may be called
    :raises UnreadableCheckpointError: if it is damaged, or has other entries
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, names, len(content))
            return {entry.filename: archive.read(entry) for entry in entries}
    except UnreadableCheckpointError:
        raise
    except DAMAGED_ZIP as error:
        raise _damaged(error) from error


def inner_files(name: str, content: bytes) -> dict[str, bytes]:
    """Read what ``torch.save`` wrote, a zip too.

    :param name: the entry's name, for errors
    :param content: the entry
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        return files_of(content, INNER_NAMES)
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"in its entry {name!r}, {error}") from error.__cause__


def _zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _check_entries(entries: list[zipfile.ZipInfo], names: re.Pattern[str], n_bytes: int) -> None:
    """Check what a zip says about its entries, which SB3 and PyTorch store as they are."""
    seen = set()
    for entry in entries:
        if not names.fullmatch(entry.filename):
            raise UnreadableCheckpointError(
                f"it is damaged, or no saved model: it has an entry {entry.filename[:80]!r}, which these do not have"
            )
        if entry.filename in seen:
            raise UnreadableCheckpointError(f"it has several entries {entry.filename!r}")
        seen.add(entry.filename)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnreadableCheckpointError(f"its entry {entry.filename!r} is compressed, which saved models are not")
        if entry.flag_bits & 1:
            raise UnreadableCheckpointError(f"its entry {entry.filename!r} is encrypted, which saved models are not")
    if sum(entry.file_size for entry in entries) > n_bytes:
        raise UnreadableCheckpointError("its entries are larger than the file itself")


# What its entries say


def json_of(content: bytes, name: str) -> dict[str, Any]:
    """Read an entry that holds a dict as JSON.

    :param content: the entry
    :param name: its name, for errors
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        read = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UnreadableCheckpointError(f"its entry {name!r} is damaged ({error})") from error
    if not isinstance(read, dict):
        raise UnreadableCheckpointError(f"its entry {name!r} is damaged: it is no dict")
    return read


def _check_format(files: dict[str, bytes]) -> None:
    # SB3's own save() writes none
    version = json_of(files[MANIFEST], MANIFEST).get("format") if MANIFEST in files else FORMAT
    if type(version) is not int:
        raise UnreadableCheckpointError(f"its entry {MANIFEST!r} is damaged: the format is no number")
    if version > FORMAT:
        raise UnreadableCheckpointError(
            f"a newer version of this package saved it, in format {version}; this one reads up to {FORMAT}: "
            "pip install -U sb3-a2c-td"
        )


def _unpickled_by_sb3(content: bytes, custom_objects: dict[str, Any]) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json_to_data(content.decode(), custom_objects)
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise UnreadableCheckpointError(f"its entry {DATA!r} is damaged ({error})") from error
    return data


def _decoded(attributes: dict[str, Any], custom_objects: dict[str, Any], algorithm: type) -> dict[str, Any]:
    """Unpickle what is pickled among the attributes, and put custom objects in their places."""
    data: dict[str, Any] = {}
    refused: dict[str, Refused] = {}
    for key, value in attributes.items():
        if key in custom_objects:
            data[key] = custom_objects[key]
            continue
        try:
            data[key] = attribute_of(key, value, algorithm)
        except Refused as what:
            refused[key] = what
    if refused:
        places = ", ".join(f"{key!r}: ..." for key in refused)
        raise UntrustedCheckpointError(
            f"it asks for more than models of TDA2C need, and loading it could run code: {_listed(refused)}. Give "
            f"other objects in their place, custom_objects={{{places}}}, or, if you made the file yourself, load it "
            "with trusted=True"
        )
    return data


def _listed(refused: dict[str, Refused]) -> str:
    asked = [(key, str(what)) for key, what in refused.items()]
    return ", ".join(
        f"{key} holds {f'the code of a function or class ({what})' if what.startswith('cloudpickle.') else what}"
        for key, what in asked
    )


def attribute_of(key: str, value: Any, algorithm: type) -> Any:
    """Unpickle an attribute of a model, if it is pickled.

    :param key: its name
    :param value: what the entry ``data`` says of it
    :param algorithm: the class of the model
    :raises Refused: if it asks for what could run code, saying for what
    :raises UnreadableCheckpointError: if it is damaged
    """
    if key == ENV:
        raise Refused("an environment to be made")
    if callable(getattr(algorithm, key, None)):
        raise Refused("what would take the place of a method")
    if not isinstance(value, dict) or ":serialized:" not in value:
        return value
    try:
        return loads(base64.b64decode(value[":serialized:"], validate=True))
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"its attribute {key!r} is {error}") from error.__cause__
    except (TypeError, ValueError) as error:
        raise UnreadableCheckpointError(f"its attribute {key!r} is damaged ({error})") from error


def shapes_of(name: str, files: dict[str, bytes]) -> dict[Any, Any]:
    """Look at the tensors of an entry, see :func:`~sb3_a2c_td.saving.tensors.shapes`.

    :param name: the entry's name, for errors
    :param files: what it consists of
    :raises Refused: if it holds something else than tensors and plain data, saying what
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        return tensors.shapes(files)
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"in its entry {name!r}, {error}") from error.__cause__


def _network_size(files: dict[str, dict[str, bytes]]) -> int:
    """Check all tensors, and measure the networks."""
    saved = {}
    for name, content in files.items():
        try:
            saved[name] = shapes_of(name, content)
        except Refused as what:
            raise UntrustedCheckpointError(
                f"{name!r} asks for {what}, where it should hold tensors only, and loading it could run code"
            ) from None
    if saved.get("pytorch_variables.pth"):
        raise UntrustedCheckpointError(
            "'pytorch_variables.pth' holds what TDA2C does not have: "
            f"{', '.join(map(str, saved['pytorch_variables.pth']))}; if you made the file yourself, load it with "
            "trusted=True"
        )
    return tensors.size_of(saved["policy.pth"])


@contextmanager
def loading(path: str | pathlib.Path | io.BufferedIOBase, checkpoint: Checkpoint) -> Iterator[None]:
    """While a model is made of a checkpoint, bound its size, and explain what does not fit together.

    :param path: the file, for errors
    :param checkpoint: what was read from it
    :raises UnreadableCheckpointError: if no model can be made of it
    """
    size = checkpoint.network_size
    # the code of a trusted file may raise anything else
    damage = (pickle.UnpicklingError, RuntimeError) if size is None else DAMAGE
    try:
        with nullcontext() if size is None else tensors.NotMuchLarger(size):
            yield
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"{_name(path)}: {error}") from error
    except ValueError as error:
        # worded for users already, by this package, SB3, PyTorch or an environment
        error.add_note(f"while {_name(path)} was loaded")
        raise
    except damage as error:
        raise UnreadableCheckpointError(
            f"{_name(path)}: its settings and weights do not fit together, or not with what load() was called with "
            f"({type(error).__name__}: {error})"
        ) from error


def add_entries(archive: io.BytesIO, training_state: bytes) -> None:
    """Add to a zip that SB3 wrote what this package reads from it.

    :param archive: the zip
    :param training_state: a pickle of what resuming a training needs
    """
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(MANIFEST, json.dumps({"format": FORMAT, "version": __version__}))
        file.writestr(TRAINING_STATE, training_state)


def zip_path(path: str | pathlib.Path) -> pathlib.Path:
    """Name the file that a model is saved to: as SB3 does, with ``.zip`` where there is no suffix."""
    path = pathlib.Path(path)
    return path if path.suffix else path.with_name(f"{path.name}.zip")
