"""Reads and checks saved models before anything is built from them."""

import io
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td.saving import zip_entries
from sb3_a2c_td.saving.attributes import decode_attributes, decode_trusted_attributes
from sb3_a2c_td.saving.errors import (
    MAX_MESSAGE,
    NotAllowedError,
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    naming_file,
    printable_lines,
)
from sb3_a2c_td.saving.model_checks import NetworkSizeLimit, check_settings, network_size
from sb3_a2c_td.saving.paths import PathOrFile, file_name
from sb3_a2c_td.saving.saved_attributes import saved_tensors
from sb3_a2c_td.saving.tensor_shapes import read_entry_shapes
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE
from sb3_a2c_td.saving.zip_entries import (
    DATA,
    OPTIMIZER,
    REQUIRED,
    SYSTEM_INFO,
    TRAINING_STATE,
    TRUSTED,
    UNTRUSTED,
    VARIABLES,
    check_few_containers,
    check_format,
    check_has,
    is_tensor_entry,
    read_json,
    read_model,
    read_tensor_entry,
)
from sb3_a2c_td.saving.zips import read_entries, read_zip, write_entries

Entries = dict[str, bytes]
"""contents of a zip's entries by name"""


class Checkpoint(NamedTuple):
    """A saved model that was read and checked, before a model is built from it."""

    file: io.BytesIO
    """the checked content in newly written zips: a crafted zip can show PyTorch other content than Python"""
    data: dict[str, Any]
    """the model's attributes"""
    training_state: bytes | None
    """the pickle that resuming needs; ``None`` if SB3's own ``save`` wrote the file"""
    network_size: int | None
    """the size of its networks, see :class:`~sb3_a2c_td.saving.model_checks.NetworkSizeLimit`; ``None`` for no limit"""


def read_checkpoint(
    path: PathOrFile,
    custom_objects: dict[str, Any] | None = None,
    trusted: bool = False,
    algorithm: type = OnPolicyAlgorithm,
) -> Checkpoint:
    """Read a saved model without running code from it.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param custom_objects: values that replace attributes in the file, which are then not unpickled
    :param trusted: unpickle everything in the file, which can run code; damage is detected all the same
    :param algorithm: the class of the model, whose methods nothing in the file may replace
    :raises UntrustedCheckpointError: if the file holds anything that could run code; the message names it
    :raises UnreadableCheckpointError: if it is damaged, of another algorithm, or of a newer version of this package
    :raises FileNotFoundError: if there is no such file
    """
    content = read_zip(path)
    with naming_file(path):
        modules, _ = saved_tensors(algorithm)
        return _checkpoint(read_model(content, trusted, modules), custom_objects or {}, trusted, algorithm)


def read_parameters(path: PathOrFile, algorithm: type) -> io.BytesIO:
    """Read the tensors of a saved model, and nothing else.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param algorithm: the class of the model
    :return: the checked tensors in a newly written zip
    :raises UntrustedCheckpointError: if the file holds anything else where they should be; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    :raises FileNotFoundError: if there is no such file
    """
    content = read_zip(path)
    with naming_file(path):
        modules, _ = saved_tensors(algorithm)
        entries = zip_entries.read_parameters(content, modules)
        tensor_files = {name: read_tensor_entry(name, entry) for name, entry in entries.items()}
        _check_tensors(tensor_files, algorithm)
        return io.BytesIO(write_entries({name: write_entries(files) for name, files in tensor_files.items()}))


def read_attributes(path: PathOrFile, names: Iterable[str], trusted: bool = False) -> dict[str, Any]:
    """Read single attributes of a saved model. Nothing else in the file is interpreted, so it need not be trusted.

    :param path: the zip, its name with or without ``.zip``, or an open file
    :param names: the attributes; those that the file does not have are left out
    :param trusted: whether the file may be much larger once it is unpacked
    :raises UntrustedCheckpointError: if one of them could run code; the message names it
    :raises UnreadableCheckpointError: if it is damaged, of another algorithm, or of a newer version of this package
    :raises FileNotFoundError: if there is no such file
    """
    content = read_zip(path)
    with naming_file(path):
        files = read_entries(content, TRUSTED if trusted else UNTRUSTED._replace(ignores_others=True))
        if not trusted:
            check_few_containers(files)
        attributes = _encoded_attributes(files)
        wanted = {name: attributes[name] for name in names if name in attributes}
        return decode_attributes(wanted, {}, OnPolicyAlgorithm)


def _checkpoint(files: Entries, custom_objects: dict[str, Any], trusted: bool, algorithm: type) -> Checkpoint:
    encoded = _encoded_attributes(files)
    tensor_files = {name: read_tensor_entry(name, content) for name, content in files.items() if is_tensor_entry(name)}
    size: int | None = None
    if trusted:
        data = decode_trusted_attributes(files[DATA], custom_objects)
    else:
        data = decode_attributes(encoded, custom_objects, algorithm)
        shapes = _check_tensors(tensor_files, algorithm)
        size = network_size(shapes)
    _check_spaces(data)
    if size is not None:
        check_settings(data, size, len(shapes))
    rewritten = {name: write_entries(inner) for name, inner in tensor_files.items()}
    if SYSTEM_INFO in files:
        # load() prints it on request
        rewritten[SYSTEM_INFO] = printable_lines(files[SYSTEM_INFO].decode(errors="replace"), MAX_MESSAGE).encode()
    file = io.BytesIO(write_entries({**files, **rewritten}))
    return Checkpoint(file, data, files.get(TRAINING_STATE), size)


def _encoded_attributes(files: Entries) -> dict[str, Any]:
    """Return the attributes as they are saved, without unpickling any."""
    check_format(files)
    check_has(files, *REQUIRED)
    attributes = read_json(files, DATA)
    if "critic_learning_rate" not in attributes:
        raise UnreadableCheckpointError("another algorithm than TDA2C saved it: load it with that one")
    return attributes


def _check_spaces(attributes: dict[str, Any]) -> None:
    for name in ("observation_space", "action_space"):
        if not isinstance(attributes.get(name), spaces.Space):
            raise UnreadableCheckpointError(f"it is damaged: its {name} is not a space of gymnasium")


def _check_tensors(tensor_files: dict[str, Entries], algorithm: type) -> dict[Any, Any]:
    """Check all tensors and return those of the networks, without their numbers."""
    shapes = {name: _shapes(name, files) for name, files in tensor_files.items()}
    _, variables = saved_tensors(algorithm)
    unknown = [name for name in shapes.get(VARIABLES, {}) if name not in variables]
    if unknown:
        raise UntrustedCheckpointError(
            f"{VARIABLES!r} holds {', '.join(map(str, unknown))}, which {algorithm.__name__} does not have; if you "
            "made the file yourself, load it with trusted=True"
        )
    networks = {name: tensors for name, tensors in shapes.items() if name not in (OPTIMIZER, VARIABLES)}
    return {(entry, name): tensor for entry, tensors in networks.items() for name, tensor in tensors.items()}


def _shapes(name: str, files: Entries) -> dict[Any, Any]:
    try:
        return read_entry_shapes(name, files)
    except NotAllowedError as error:
        raise UntrustedCheckpointError(
            f"{name!r} asks for {error}, where it should hold tensors only, and loading it could run code"
        ) from None


@contextmanager
def loading(path: PathOrFile, checkpoint: Checkpoint) -> Iterator[None]:
    """Limit the size of the model while it is built from a checkpoint, and explain errors.

    :param path: the file, for errors
    :param checkpoint: the checkpoint
    :raises UnreadableCheckpointError: if no model can be built from it
    """
    is_trusted = checkpoint.network_size is None
    # the code in a trusted file may raise any other exception
    damage = (pickle.UnpicklingError, RuntimeError) if is_trusted else PICKLE_DAMAGE
    try:
        with nullcontext() if checkpoint.network_size is None else NetworkSizeLimit(checkpoint.network_size):
            yield
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"{file_name(path)}: {error}") from error
    except ValueError as error:
        # this package, SB3, PyTorch or an environment worded it for users, but may quote from the file
        message = printable_lines(str(error), MAX_MESSAGE)
        if message != str(error):
            raise UnreadableCheckpointError(f"{file_name(path)}: {message}") from None
        error.add_note(f"while {file_name(path)} was loaded")
        raise
    except damage as error:
        reason = printable_lines(str(error).replace("\t", "    "), MAX_MESSAGE)
        raise UnreadableCheckpointError(
            f"{file_name(path)}: its settings and weights do not fit together, or do not fit the arguments of load() "
            f"({type(error).__name__}: {reason})"
        ) from error
