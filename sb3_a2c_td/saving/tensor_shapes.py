"""Reads and checks the shapes of saved tensors without reading their numbers."""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch as th

from sb3_a2c_td.saving.errors import NotAllowedError, UnreadableCheckpointError, require
from sb3_a2c_td.saving.unpickling import Budget, Instructions, Unpickler, check_content
from sb3_a2c_td.saving.unpickling.checked_calls import check_view, make_ordered_dict
from sb3_a2c_td.saving.unpickling.tokens import Name, Token
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE

STORAGES = {
    "FloatStorage": th.float32,
    "DoubleStorage": th.float64,
    "HalfStorage": th.float16,
    "BFloat16Storage": th.bfloat16,
    "BoolStorage": th.bool,
    "ByteStorage": th.uint8,
    "CharStorage": th.int8,
    "ShortStorage": th.int16,
    "IntStorage": th.int32,
    "LongStorage": th.int64,
}
"""the dtypes by the names of PyTorch's storages"""

PROTOCOL_2 = (pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINPERSID)
"""instructions that only the pickles of ``torch.save`` need"""

DATA_PICKLE = "data.pkl"
"""the end of the name of the pickle in a zip from ``torch.save``"""


def read_entry_shapes(name: str, files: Mapping[str, bytes]) -> dict[Any, Any]:
    """Read the shapes in an entry of a saved model, see :func:`read_shapes`.

    :param name: the entry's name, for errors
    :param files: the contents of its zip by name
    :raises NotAllowedError: if it holds anything other than tensors and plain data; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        return read_shapes(files)
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(f"in its entry {name!r}, {error}") from error.__cause__


def read_shapes(files: Mapping[str, bytes]) -> dict[Any, Any]:
    """Read the tensors that ``torch.load(..., weights_only=True)`` would return, without their numbers.

    :param files: the contents of a zip from ``torch.save`` by name
    :return: the saved dict, with tensors on PyTorch's device "meta"; tensors that share numbers are views of one
    :raises NotAllowedError: if it holds anything other than tensors and plain data; the message names it
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        (name,) = (name for name in files if name.endswith(f"/{DATA_PICKLE}"))
        folder = name.removesuffix(DATA_PICKLE)
        n_bytes = {file.removeprefix(f"{folder}data/"): len(content) for file, content in files.items()}
        saved = _ShapeUnpickler(files[name], n_bytes).load()
        check_content(saved, sum(map(len, files.values())))
        require(type(saved) in (dict, OrderedDict), "no dict of tensors")
    except PICKLE_DAMAGE as error:
        raise UnreadableCheckpointError(f"damaged tensors ({type(error).__name__}: {error})") from error
    return dict(saved)


class _Storage(NamedTuple):
    numbers: th.Tensor
    """on the device "meta": without values, so without memory"""


def _make_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], requires_grad: Any, hooks: Any
) -> th.Tensor:
    require(type(storage) is _Storage and not hooks, "a tensor without numbers")
    check_view(len(storage.numbers), offset, size, stride)
    return storage.numbers.as_strided(size, stride, offset)


class _ShapeUnpickler(Unpickler):
    """Reads a pickle of tensors, whose numbers are in other files.

    :param content: the pickle
    :param n_bytes: the sizes of these files by name
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = Instructions(
        {**Unpickler.dispatch, **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in PROTOCOL_2}}
    )
    calls: ClassVar[dict[Name, Callable[..., Any]]] = {
        ("collections", "OrderedDict"): make_ordered_dict,
        ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
    }

    def __init__(self, content: bytes, n_bytes: Mapping[str, int]) -> None:
        super().__init__(content, Budget(sum(n_bytes.values())))
        self._n_bytes = n_bytes
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Token:
        """Resolve a name: one of the calls, or one of PyTorch's storages."""
        if (module, name) in self.calls or (module == "torch" and name in STORAGES):
            return Token(module, name)
        raise NotAllowedError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that the pickle refers to, without its numbers."""
        kind, storage, key, _, n = pid
        require(kind == "storage" and isinstance(storage, Token), "a tensor without numbers")
        require(type(key) is str and type(n) is int, "a tensor without numbers")
        dtype = STORAGES[storage.name[1]]
        require(self._n_bytes[key] == n * dtype.itemsize, "a tensor with more or fewer numbers than it says")
        known = self._storages.setdefault(key, _Storage(th.empty(n, dtype=dtype, device="meta")))
        require(known.numbers.dtype == dtype, "tensors of two dtypes with the same numbers")
        return known

    def _build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        # the versions of modules, which state_dict() attaches to the dict
        require(type(thing) is OrderedDict and state.keys() == {"_metadata"}, "a state of something else")

    dispatch[pickle.BUILD[0]] = _build
