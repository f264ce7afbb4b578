"""What the pickles in a saved model may name and call, found by looking into saved models of every kind.

What stands in none of these lists is never even imported.
"""

import math
import pickle
import pickletools
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from types import ModuleType, NoneType
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.random import PCG64, SeedSequence
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies.maskable import (
    MaskableCnnPolicy,
    MaskableMlpPolicy,
    MaskableMultiInputPolicy,
    SeparateMaskablePolicy,
)
from sb3_a2c_td.policies.minatar import MinAtarCnn, MinAtarPolicy
from sb3_a2c_td.policies.recurrent import (
    CnnLstmPolicy,
    MlpLstmPolicy,
    MultiInputLstmPolicy,
    SeparateRecurrentPolicy,
)
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy
from sb3_a2c_td.rollout.transitions import MaskedTransitions, RecurrentTransitions, TransitionBuffer, Transitions
from sb3_a2c_td.schedules import PowerLaw, RobbinsMonroSchedule

Name = tuple[str, str]
"""a module, and a name in it"""


class Refused(Exception):
    """A pickle asks for something else; the message says what, as the object of a sentence."""


def require(condition: bool, otherwise: str) -> None:
    """Check what numpy's and others' own pickles always fulfil.

    :raises ValueError: if they do not
    """
    if not condition:
        raise ValueError(otherwise)


# What they may name: it goes into the settings, and the unpickler itself never calls it.


def _classes_of(module: ModuleType, base: type) -> Iterator[type]:
    return (thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, base))


VALUES: dict[Name, Any] = {
    **{
        (kind.__module__, kind.__qualname__): kind
        for kind in (
            # policy_class
            *(SeparateActorCriticPolicy, MlpPolicy, CnnPolicy, MultiInputPolicy, MinAtarPolicy),
            *(SeparateMaskablePolicy, MaskableMlpPolicy, MaskableCnnPolicy, MaskableMultiInputPolicy),
            *(SeparateRecurrentPolicy, MlpLstmPolicy, CnnLstmPolicy, MultiInputLstmPolicy),
            # policy_kwargs: activation_fn, optimizer_class, features_extractor_class
            *_classes_of(nn, nn.Module),
            *_classes_of(th.optim, th.optim.Optimizer),
            *(AdamTFLike, RMSpropTFLike),
            *(FlattenExtractor, NatureCNN, CombinedExtractor, MinAtarCnn),
        )
    },
    **{
        ("torch", str(dtype).removeprefix("torch.")): dtype
        for dtype in vars(th).values()
        if isinstance(dtype, th.dtype)
    },
}

# What they may call. These functions stand in for what is named, and check what they are given.


def _blank(kind: type) -> Callable[[], Any]:
    return partial(object.__new__, kind)


def _deque(items: tuple[()] = (), maxlen: int | None = None) -> deque[Any]:
    require(items == () and type(maxlen) in (int, NoneType), "a deque that is not empty")
    return deque(maxlen=maxlen)


def _buffer() -> TransitionBuffer:
    return TransitionBuffer(capacity=0)


def _transitions_of(kind: type[Any]) -> Callable[..., Any]:
    def transitions(*arrays: Any) -> Any:
        for array in arrays:
            for rows in array.values() if isinstance(array, dict) else (array,):
                require(isinstance(rows, np.ndarray), "transitions that are no arrays")
        return kind(*arrays)

    return transitions


def _dtype(kind: str, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    """Numbers only: numpy would take the bytes of objects for pointers, and does not look at those of strings."""
    if type(kind) is not str or not re.fullmatch("b1|[iu][1248]|f[248]|c8|c16", kind):
        raise Refused(f"numpy.dtype({str(kind)[:20]!r})" if type(kind) is str else "numpy.dtype")
    return np.dtype(kind, copy=True)


def _array(buffer: bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str, axes: Any = None) -> np.ndarray:
    check_array(buffer, dtype, shape)
    array = np.frombuffer(buffer, dtype)
    if order == "K" and axes is not None:
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _empty_array(kind: "Token", shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """Give the array that :func:`_fill_array` fills."""
    require(kind == Token("numpy", "ndarray") and shape == (0,) and code == b"b", "an array that is not empty")
    return np.empty(0, np.int8)


def _number(dtype: np.dtype[Any], content: bytes) -> Any:
    check_array(content, dtype, ())
    return np.frombuffer(content, dtype)[0]


def check_array(content: Any, dtype: Any, shape: Any) -> None:
    """Check that an array of this dtype and shape consists of these bytes.

    :raises ValueError: if it does not
    """
    require(type(content) in (bytes, bytearray) and isinstance(dtype, np.dtype), "an array without bytes or dtype")
    require(type(shape) is tuple and len(shape) <= 64, "a shape of no array")
    require(all(type(n) is int and 0 <= n < 2**32 for n in shape), "a shape of no array")
    require(math.prod(shape) * dtype.itemsize == len(content), "an array of another size than its bytes")
    if dtype.kind == "b":
        # numpy counts by adding them up
        require(np.frombuffer(content, np.uint8).max(initial=0) <= 1, "truth values other than 0 and 1")


def _bit_generator(kind: Any = "MT19937") -> PCG64:
    """PCG64 is what gymnasium seeds; the states of some others hold indices that numpy does not check."""
    if kind not in ("PCG64", Token("numpy.random._pcg64", "PCG64")):
        raise Refused("a generator of random numbers other than numpy.random.PCG64")
    return PCG64(0)


def _generator(bit_generator: Any, constructor: Any = None) -> np.random.Generator:
    made = bit_generator if isinstance(bit_generator, PCG64) else _bit_generator(bit_generator)
    return np.random.Generator(made)


def _seed_sequence(kind: "Token", checksum: int, state: None) -> SeedSequence:
    require(kind == Token("numpy.random.bit_generator", "SeedSequence") and state is None, "a seed with a state")
    return SeedSequence(0)


def _ordered_dict() -> OrderedDict[Any, Any]:
    return OrderedDict()


def _complex(real: float, imaginary: float) -> complex:
    require(type(real) is float and type(imaginary) is float, "a complex number of other things than numbers")
    return complex(real, imaginary)


def _device(kind: str, index: int | None = None) -> th.device:
    require(type(kind) is str and type(index) in (int, NoneType), "a device without a name")
    return th.device(kind) if index is None else th.device(kind, index)


def _storage(content: bytes) -> th.TypedStorage:
    # PyTorch's format without a zip, which could unfold into far more than its bytes
    require(type(content) is bytes and content.startswith(b"\x80\x02"), "a tensor without bytes")
    stream = BytesIO(content)
    for _ in range(5):
        # what names nothing twice takes no longer than it is long
        require(
            not any("GET" in instruction.name for instruction, *_ in pickletools.genops(stream)), "a tensor named twice"
        )
    try:
        storage: th.TypedStorage = th.load(BytesIO(content), "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Refused("a tensor that holds more than numbers") from None
    require(type(storage) is th.TypedStorage, "a tensor without numbers")
    return storage


def check_view(n_numbers: int, offset: Any, size: Any, stride: Any) -> None:
    """Check that a tensor lies within its numbers; PyTorch would make more of them.

    :raises ValueError: if it does not
    """
    require(
        type(size) is tuple and type(stride) is tuple and len(size) == len(stride) <= 64, "a tensor without a shape"
    )
    require(all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride)), "a tensor without a shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    is_within = offset <= n_numbers if 0 in size else last < n_numbers
    require(is_within and math.prod(size) <= n_numbers, "a tensor larger than its numbers")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any) -> th.Tensor:
    require(type(storage) is th.TypedStorage and type(hooks) is OrderedDict and not hooks, "a tensor with hooks")
    check_view(storage._untyped_storage.nbytes() // storage.dtype.itemsize, offset, size, stride)
    tensor: th.Tensor = th._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad is True, hooks)
    return tensor


KINDS_OF_TRANSITIONS = (Transitions, MaskedTransitions, RecurrentTransitions)

CALLS: dict[Name, Callable[..., Any]] = {
    # containers of episodes' returns and of observations
    ("collections", "deque"): _deque,
    ("collections", "OrderedDict"): _ordered_dict,
    # numbers and arrays, by the names of numpy 1 and 2
    ("builtins", "complex"): _complex,
    ("numpy", "dtype"): _dtype,
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
    # generators of random numbers, in spaces that were seeded
    ("numpy.random._pickle", "__bit_generator_ctor"): _bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): _seed_sequence,
    # tensors among the attributes of subclasses
    ("torch", "device"): _device,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    # an unfinished interval
    ("sb3_a2c_td.rollout.transitions", "TransitionBuffer"): _buffer,
    **{(kind.__module__, kind.__qualname__): _transitions_of(kind) for kind in KINDS_OF_TRANSITIONS},
    # spaces and schedules, without attributes yet
    **{
        (kind.__module__, kind.__qualname__): _blank(kind)
        for kind in (
            *(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict),
            *(ConstantSchedule, LinearSchedule, FloatSchedule, PowerLaw, RobbinsMonroSchedule),
        )
    },
}

ARGUMENTS: frozenset[Name] = frozenset(
    {("numpy", "ndarray"), ("numpy.random._pcg64", "PCG64"), ("numpy.random.bit_generator", "SeedSequence")}
)
"""classes that numpy's pickles name to the functions above"""


class Token:
    """Stands for what is named in ``CALLS`` and ``ARGUMENTS``, and can do nothing.

    :param module: its module
    :param name: its name there
    """

    def __init__(self, module: str, name: str) -> None:
        self.name: Name = module, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return ".".join(self.name)


def named(module: str, name: str) -> Any:
    """Give what a pickle names: a value, or a token.

    :raises Refused: if it may not
    """
    if (module, name) in VALUES:
        return VALUES[module, name]
    if (module, name) in CALLS or (module, name) in ARGUMENTS:
        return Token(module, name)
    raise Refused(f"{module}.{name}")
