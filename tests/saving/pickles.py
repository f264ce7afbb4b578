"""Pickles that run code, and saved models with other content."""

import functools
import importlib
import io
import json
import os
import pickle
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cloudpickle
import numpy as np
import torch as th

SERIALIZED = ":serialized:"


class Reduced:
    """Pickles as a call of a function, and then perhaps a state.

    :param reduction: the tuple that ``__reduce__`` returns
    """

    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduction


class New(Reduced):
    """Pickles as a new object without attributes, of a class, and then perhaps a state."""


class Named:
    """Pickles as a name.

    :param module: the module
    :param name: the name in it, which may have dots
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Dict:
    """Pickles as a dict without being one: hashing some keys takes minutes.

    :param keys: the keys; all values are ``None``
    """

    def __init__(self, keys: Iterable[Any]) -> None:
        self.keys = keys


class Set(Dict):
    """Pickles as a set without being one."""


class Pickler(pickle._Pickler):
    """Writes names of things that need not exist."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_named(self, named: Named) -> None:
        self.save(named.module)
        self.save(named.name)
        self.write(pickle.STACK_GLOBAL)

    dispatch[Named] = save_named

    def save_dict_of_keys(self, made: Dict) -> None:
        self.write(pickle.EMPTY_DICT + pickle.MARK)
        for key in made.keys:
            self.save(key)
            self.save(None)
        self.write(pickle.SETITEMS)

    dispatch[Dict] = save_dict_of_keys

    def save_set_of_keys(self, made: Set) -> None:
        self.write(pickle.EMPTY_SET + pickle.MARK)
        for key in made.keys:
            self.save(key)
        self.write(pickle.ADDITEMS)

    dispatch[Set] = save_set_of_keys

    def save_reduced(self, reduced: Reduced) -> None:
        called, arguments, *state = reduced.reduction
        self.save(called)
        self.save(arguments)
        self.write(pickle.NEWOBJ if isinstance(reduced, New) else pickle.REDUCE)
        self.memoize(reduced)
        if state:
            self.save(state[0])
            self.write(pickle.BUILD)

    dispatch[Reduced] = dispatch[New] = save_reduced


def array_with(state: Any, shape: Any = (0,)) -> Reduced:
    """Pickles as an array that a state fills."""
    return Reduced(Named("numpy._core.multiarray", "_reconstruct"), (np.ndarray, shape, b"b"), state)


def dumps(thing: Any, protocol: int = 4) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(thing)
    return file.getvalue()


def files_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def contents(archive: bytes) -> dict[str, Any]:
    """Return the contents of a saved model's entries, those of tensors by the names in their own zips."""
    return {name: files_of(file) if name.endswith(".pth") else file for name, file in files_of(archive).items()}


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_file(archive: bytes, name: str, content: bytes) -> bytes:
    return zipped({**files_of(archive), name: content})


def with_json(archive: bytes, key: str, value: Any) -> bytes:
    """Return a saved model with another attribute."""
    return with_file(archive, "data", json.dumps({**attributes_of(archive), key: value}).encode())


def with_pickle(archive: bytes, key: str, pickled: bytes) -> bytes:
    """Return a saved model with another attribute, pickled."""
    return with_json(archive, key, {":type:": "int", SERIALIZED: b64encode(pickled).decode()})


def attributes_of(archive: bytes) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads(files_of(archive)["data"])
    return attributes


def pickle_of(archive: bytes, key: str) -> bytes:
    return b64decode(attributes_of(archive)[key][SERIALIZED])


def _inst(canary: str) -> bytes:
    return b"\x80\x04(" + dumps(canary)[2:-1] + b"ios\nmkdir\n."


def _obj(canary: str) -> bytes:
    return f"(cos\nmkdir\nV{canary}\no.".encode()


def _global(canary: str) -> bytes:
    return f"cos\nmkdir\n(V{canary}\ntR.".encode()


def _partial_with_state(canary: str) -> bytes:
    return dumps(Reduced(Reduced(functools.partial, (print,), (os.mkdir, (canary,), {}, None)), ()))


def _storage(canary: str) -> bytes:
    """Looks like the numbers of a tensor; PyTorch would unpickle anything here."""
    file = io.BytesIO()
    th.save(Reduced(os.mkdir, (canary,)), file, _use_new_zipfile_serialization=False)
    return dumps(Reduced(Named("torch.storage", "_load_from_bytes"), (file.getvalue(),)))


PAYLOADS: dict[str, Callable[[str], bytes]] = {
    "a call": lambda canary: dumps(Reduced(os.mkdir, (canary,))),
    "builtins.eval": lambda canary: dumps(Reduced(eval, (f"__import__('os').mkdir({canary!r})",))),
    "builtins.exec": lambda canary: dumps(Reduced(exec, (f"import os; os.mkdir({canary!r})",))),
    "os.system": lambda canary: dumps(Reduced(os.system, (f"mkdir {canary}",))),
    "a pickle in a pickle": lambda canary: dumps(Reduced(pickle.loads, (dumps(Reduced(os.mkdir, (canary,))),))),
    "functools.partial": lambda canary: dumps(Reduced(Reduced(functools.partial, (os.mkdir, canary)), ())),
    "builtins.getattr": lambda canary: dumps(
        Reduced(Reduced(getattr, (Reduced(importlib.import_module, ("os",)), "mkdir")), (canary,))
    ),
    "a module in an allowed one": lambda canary: dumps(Reduced(Named("torch", "os.mkdir"), (canary,))),
    "a module of schedules": lambda canary: dumps(
        Reduced(Named("stable_baselines3.common.utils", "os.mkdir"), (canary,))
    ),
    "a function of a script": lambda canary: cloudpickle.dumps(Reduced(lambda: os.mkdir(canary), ())),
    "an array of objects": lambda canary: pickle.dumps(np.array([Reduced(os.mkdir, (canary,))], object)),
    "numbers of a tensor": _storage,
    "a state": _partial_with_state,
    "GLOBAL": _global,
    "INST": _inst,
    "OBJ": _obj,
}
"""pickles that create a folder, by how they do it"""

TAKEN_FOR_OTHERS = {
    "archive/DATA.pkl": "archive/data.pkl",
    "archive/DATA/0": "archive/data/0",
    "archive/Data/0": "archive/data/0",
    "other/DATA.pkl": "archive/data.pkl",
    "other/version": "archive/version",
    "ARCHIVE/data/0": "archive/data/0",
    "archive/data.PKL": "archive/data.pkl",
    "archive/constants.pkl": "archive/data.pkl",
}
"""names of entries, and of those that PyTorch takes them for"""
