"""The entries of a saved model's zip: their names, the version of the format, and the two that this package adds."""

import io
import json
import math
import re
import zipfile
from collections.abc import Iterable
from typing import Any

from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.zips import Rules, read_entries
from sb3_a2c_td.version import __version__

FORMAT = 2
"""the newest version of the format that this code can read"""

DATA = "data"
"""the model's attributes in JSON, those that JSON does not have as pickles in base64"""
POLICY = "policy.pth"
OPTIMIZER = "policy.optimizer.pth"
VARIABLES = "pytorch_variables.pth"
"""tensors outside of the policy; TDA2C has none"""
SB3_VERSION = "_stable_baselines3_version"
SYSTEM_INFO = "system_info.txt"
MANIFEST = "sb3_a2c_td.json"
"""the format and the version of this package"""
TRAINING_STATE = "training_state.pkl"
"""see :mod:`sb3_a2c_td.saving.training_state`"""

REQUIRED = (DATA, POLICY, OPTIMIZER)

_TENSORS = r"[A-Za-z]\w*(\.[A-Za-z]\w*)*\.pth"
_FIXED_NAMES = (DATA, SB3_VERSION, SYSTEM_INFO, MANIFEST, TRAINING_STATE)
NAMES = re.compile(f"{'|'.join(map(re.escape, _FIXED_NAMES))}|{_TENSORS}", re.ASCII)
"""the names of entries that models of SB3's algorithms have"""
OWN_NAMES = re.compile("|".join(map(re.escape, (*_FIXED_NAMES, POLICY, OPTIMIZER, VARIABLES))))
"""the names of entries that models of this package have"""
TENSOR_FILE_NAMES = re.compile(r"[\w-]+/(data\.pkl|version|byteorder|data/\d+|\.[a-z_]+(/[a-z_]+)?)", re.ASCII)
"""the names of entries in the zips that ``torch.save`` writes. PyTorch ignores their case: it would read ``DATA.pkl``
in place of the checked ``data.pkl``"""


MAX_CONTAINERS = 1_000_000
"""maximum number of lists and dicts among the attributes in JSON of an untrusted file"""
ORDINARY_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""how the entries of a zip from an ordinary tool are packed"""
UNTRUSTED = Rules(
    OWN_NAMES,
    methods=ORDINARY_METHODS,
    max_growth=10.0,
    way_out="if you made the file yourself, load it with trusted=True",
)
"""the rules for untrusted files; a tool that packs saved models again compresses them to about a third"""
OF_ANY_ALGORITHM = UNTRUSTED._replace(names=NAMES)
"""the rules for untrusted files that are inspected only"""
TRUSTED = Rules(NAMES, ignores_others=True, methods=ORDINARY_METHODS, max_growth=math.inf)
"""the rules for trusted files"""
TENSOR_FILE = Rules(TENSOR_FILE_NAMES)
"""the rules for the zips that ``torch.save`` writes; PyTorch reads no compressed ones"""


def read_model(content: bytes, trusted: bool = False, modules: Iterable[str] = ()) -> dict[str, bytes]:
    """Read the entries of a saved model, which an ordinary tool may have packed again.

    :param content: the zip
    :param trusted: whether the file is trusted
    :param modules: the modules that models of a user's own class save, beyond those of this package
    :return: the contents by name
    :raises UnreadableCheckpointError: if it is damaged, not a saved model, or not trusted and would fill the memory
    """
    files = read_entries(content, TRUSTED if trusted else _with_modules(modules))
    if not trusted:
        check_few_containers(files)
    return files


def read_parameters(content: bytes, modules: Iterable[str] = ()) -> dict[str, bytes]:
    """Read the entries of a saved model that hold tensors; others are left out.

    :param content: the zip
    :param modules: as in :func:`read_model`
    :return: the contents by name
    :raises UnreadableCheckpointError: if it is damaged
    """
    files = read_entries(content, _with_modules(modules)._replace(ignores_others=True))
    return {name: entry for name, entry in files.items() if is_tensor_entry(name)}


def _with_modules(modules: Iterable[str]) -> Rules:
    names = "|".join(re.escape(f"{name}.pth") for name in modules)
    return UNTRUSTED._replace(names=re.compile(f"{OWN_NAMES.pattern}|{names}")) if names else UNTRUSTED


def add_entries(archive: io.BytesIO, training_state: bytes) -> None:
    """Add this package's entries to a zip that SB3 wrote.

    :param archive: the zip
    :param training_state: the pickle from :func:`sb3_a2c_td.saving.training_state.dumps`
    """
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(MANIFEST, json.dumps({"format": FORMAT, "version": __version__}))
        file.writestr(TRAINING_STATE, training_state)


def is_tensor_entry(name: str) -> bool:
    """Check whether an entry was written by ``torch.save``.

    :param name: the entry's name
    """
    return name.endswith(".pth")


def read_tensor_entry(name: str, content: bytes) -> dict[str, bytes]:
    """Read an entry written by ``torch.save``, which is a zip too.

    :param name: the entry's name, for errors
    :param content: the entry
    :return: the contents of that zip's entries by name
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        files = read_entries(content, TENSOR_FILE)
        folders = {entry.split("/")[0] for entry in files}
        if len(folders) > 1:
            raise UnreadableCheckpointError(f"it has the folders {', '.join(sorted(folders))} in place of one")
        return files
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"in its entry {name!r}, {error}") from error.__cause__


def check_few_containers(files: dict[str, bytes]) -> None:
    """Check that the attributes in JSON do not fill the memory: an empty list or dict takes many times its text.

    :param files: the entries of an untrusted zip
    :raises UnreadableCheckpointError: if they hold too many
    """
    if sum(map(files.get(DATA, b"").count, (b"[", b"{"))) > MAX_CONTAINERS:
        raise UnreadableCheckpointError(
            f"its entry {DATA!r} holds more than {MAX_CONTAINERS:,} lists and dicts; {UNTRUSTED.way_out}"
        )


def read_json(files: dict[str, bytes], name: str) -> dict[str, Any]:
    """Read an entry that holds a dict in JSON.

    :param files: the entries
    :param name: the entry's name
    :raises UnreadableCheckpointError: if it is missing or damaged
    """
    check_has(files, name)
    try:
        read = json.loads(files[name].decode())
    except (ValueError, RecursionError) as error:
        raise UnreadableCheckpointError(f"its entry {name!r} is damaged ({error})") from error
    if not isinstance(read, dict):
        raise UnreadableCheckpointError(f"its entry {name!r} is damaged: it is not a dict")
    return read


def check_has(files: dict[str, bytes], *names: str) -> None:
    """Check that entries are there.

    :param files: the entries
    :param names: the names of those that must be there
    :raises UnreadableCheckpointError: if one is missing
    """
    for name in names:
        if name not in files:
            raise UnreadableCheckpointError(f"it is damaged, or not a saved model: it has no entry {name!r}")


def check_format(files: dict[str, bytes]) -> None:
    """Check that this code can read the format. Zips without a manifest were written by SB3's own ``save``.

    :param files: the entries
    :raises UnreadableCheckpointError: if a version of this package with another format saved the model, or the
        manifest is damaged
    """
    if MANIFEST not in files:
        return
    version = read_json(files, MANIFEST).get("format")
    if type(version) is not int:
        raise UnreadableCheckpointError(f"its entry {MANIFEST!r} is damaged: the format is not an integer")
    if version > FORMAT:
        raise UnreadableCheckpointError(
            f"a newer version of this package saved it, in format {version}; this one reads up to {FORMAT}: "
            "install a newer version of sb3-a2c-td"
        )
    if version < FORMAT:
        raise UnreadableCheckpointError(
            f"an earlier version of this package saved it, in format {version}, and classes have moved since; this one "
            f"reads format {FORMAT}: load it with the version that saved it"
        )
