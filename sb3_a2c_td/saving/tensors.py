"""The tensors of saved models: a look at what they are, without reading them, and what a model may make of them."""

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple

import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch.overrides import TorchFunctionMode

from sb3_a2c_td.saving.allowed import CALLS, Name, Refused, Token, check_view, require
from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.unpickling import DAMAGE, Instructions, Unpickler, check_content

STORAGES = {
    **{"FloatStorage": th.float32, "DoubleStorage": th.float64, "HalfStorage": th.float16},
    **{"BFloat16Storage": th.bfloat16, "BoolStorage": th.bool},
    **{"ByteStorage": th.uint8, "CharStorage": th.int8, "ShortStorage": th.int16, "IntStorage": th.int32},
    **{"LongStorage": th.int64},
}
"""PyTorch's names for numbers"""

PROTOCOL_2 = (pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINPERSID)
"""instructions of pickles that ``torch.save`` writes, and newer protocols have not or SB3 does not need"""

CHECKED_STATES = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "sum"})
"""states of optimisers whose shapes PyTorch's fused kernels take for granted: with others they write where they like"""


def shapes(files: Mapping[str, bytes]) -> dict[Any, Any]:
    """Look at what ``torch.save`` wrote, for what ``torch.load(..., weights_only=True)`` will give.

    :param files: the content of the zip, by name
    :return: what was saved, with tensors on PyTorch's device "meta", that is without their numbers; what shared numbers
        does so there
    :raises Refused: if it holds something else than tensors and plain data, saying what
    :raises UnreadableCheckpointError: if it is damaged
    """
    try:
        (name,) = (name for name in files if name.endswith("/data.pkl"))
        folder = name.removesuffix("data.pkl")
        n_bytes = {file.removeprefix(f"{folder}data/"): len(content) for file, content in files.items()}
        saved = _ShapeUnpickler(files[name], n_bytes).load()
        check_content(saved, sum(map(len, files.values())))
        require(type(saved) in (dict, OrderedDict), "no dict of tensors")
    except DAMAGE as error:
        raise UnreadableCheckpointError(f"damaged tensors ({type(error).__name__}: {error})") from error
    return dict(saved)


class _Storage(NamedTuple):
    numbers: th.Tensor
    """on the device "meta"; tensors that share numbers are views of the same"""


def _shape(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], requires_grad: Any, hooks: Any
) -> th.Tensor:
    require(type(storage) is _Storage and not hooks, "a tensor without numbers")
    check_view(len(storage.numbers), offset, size, stride)
    return storage.numbers.as_strided(size, stride, offset)


class _ShapeUnpickler(Unpickler):
    """Reads a pickle of tensors, whose numbers lie beside it.

    :param content: the pickle
    :param n_bytes: how many bytes lie beside it, by name
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = Instructions(
        {**Unpickler.dispatch, **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in PROTOCOL_2}}
    )
    calls: ClassVar[dict[Name, Callable[..., Any]]] = {
        ("collections", "OrderedDict"): CALLS["collections", "OrderedDict"],
        ("torch._utils", "_rebuild_tensor_v2"): _shape,
    }

    def __init__(self, content: bytes, n_bytes: Mapping[str, int]) -> None:
        super().__init__(content, sum(n_bytes.values()))
        self._n_bytes = n_bytes
        self._storages: dict[tuple[str, th.dtype], _Storage] = {}

    def find_class(self, module: str, name: str) -> Token:
        if (module, name) in self.calls or (module == "torch" and name in STORAGES):
            return Token(module, name)
        raise Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """Give what stands for the numbers of a tensor."""
        kind, storage, key, _, n = pid
        require(kind == "storage" and isinstance(storage, Token), "a tensor without numbers")
        require(type(key) is str and type(n) is int, "a tensor without numbers")
        dtype = STORAGES[storage.name[1]]
        require(self._n_bytes[key] == n * dtype.itemsize, "a tensor with more or fewer numbers than it says")
        return self._storages.setdefault((key, dtype), _Storage(th.empty(n, dtype=dtype, device="meta")))

    def _build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        # versions of modules, which come with their parameters
        require(type(thing) is OrderedDict and state.keys() == {"_metadata"}, "a state of something else")

    dispatch[pickle.BUILD[0]] = _build


def size_of(saved: Any) -> int:
    """Add up the numbers in tensors, and a bit for each tensor.

    :param saved: tensors, and dicts of them
    """
    if isinstance(saved, dict):
        return sum(map(size_of, saved.values()))
    return _size(saved.shape) if isinstance(saved, th.Tensor) else 0


def _size(shape: Any) -> int:
    return math.prod(map(int, shape)) + 64


class NotMuchLarger(TorchFunctionMode):
    """Lets networks be built that are not much larger than those of a file, whatever its settings say.

    :param size: the size of the file's networks, by :func:`size_of`
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._room = 4 * size + 2**20

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make new memory, if there is room."""
        kwargs = kwargs or {}
        if func in (th.empty, th.zeros, th.ones):
            shape = kwargs["size"] if not args else args[0] if isinstance(args[0], tuple | list) else args
            self._room -= _size(shape)
            if self._room < 0:
                raise UnreadableCheckpointError("its settings ask for networks much larger than those that it holds")
        return func(*args, **kwargs)


def check_moments(optimizer: th.optim.Optimizer) -> None:
    """Check an optimiser's state, which ``load_state_dict`` takes as it comes, against the parameters.

    :param optimizer: the optimiser
    :raises UnreadableCheckpointError: if a moment has another shape than its parameter
    """
    for param, state in optimizer.state.items():
        for name in CHECKED_STATES & state.keys():
            shape = getattr(state[name], "shape", None)
            if shape is not None and (math.prod(shape) != 1 if name == "step" else shape != param.shape):
                raise UnreadableCheckpointError(
                    f"the optimiser's {name!r} has the shape {tuple(shape)} for a parameter of {tuple(param.shape)}"
                )


def digest(policy: BasePolicy) -> str:
    """Give the SHA-256 of a policy's weights and of its optimiser's moments."""
    moments = (value for state in policy.optimizer.state.values() for value in state.values() if value is not None)
    tensors = [*policy.state_dict().values(), *map(th.as_tensor, moments)]
    return sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()
