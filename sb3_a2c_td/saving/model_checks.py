"""Checks while a model is built from a file: the size of its networks, and its optimizer's moments."""

import math
from collections.abc import Iterator
from typing import Any

import torch as th
from gymnasium import spaces
from torch import nn
from torch.overrides import TorchFunctionMode

from sb3_a2c_td.arguments import is_finite_number
from sb3_a2c_td.saving.errors import UnreadableCheckpointError

CHECKED_STATES = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "sum"})
"""states of optimizers whose shapes PyTorch's fused kernels do not check: with others they write out of bounds"""

SETTINGS = frozenset({"alpha", "betas", "eps", "lr", "momentum", "weight_decay"})
"""settings by which PyTorch's optimizers differ, and which each of their groups needs"""
UNSUITABLE = "its settings ask for"
TOO_LARGE = f"{UNSUITABLE} networks much larger than those that it holds"

SIZE_PER_TENSOR = 64
"""added for each tensor, so that many empty ones count too"""
MAX_GROWTH = 4
"""maximum size of the model's networks, in multiples of the file's"""
SLACK = 2**20
"""numbers that they may have beyond that"""


def network_size(saved: dict[Any, Any]) -> int:
    """Count the numbers in tensors, and a bit for each tensor. Tensors that share their numbers count once.

    :param saved: a dict of tensors
    """
    storages = {tensor.untyped_storage()._cdata: tensor for tensor in saved.values() if isinstance(tensor, th.Tensor)}
    return sum(tensor.untyped_storage().nbytes() // tensor.itemsize + SIZE_PER_TENSOR for tensor in storages.values())


def _size(shape: Any) -> int:
    return math.prod(map(int, shape)) + SIZE_PER_TENSOR


def max_network_size(size: int) -> int:
    """Return the maximum size of a model's networks.

    :param size: the size of the file's networks, from :func:`network_size`
    """
    return MAX_GROWTH * size + SLACK


def check_settings(attributes: dict[str, Any], saved: dict[Any, Any]) -> None:
    """Check settings that would cost much time or memory before they ask for a single tensor.

    :param attributes: the model's attributes
    :param saved: the policy's tensors
    :raises UnreadableCheckpointError: if the spaces have more numbers, or the networks more layers, than the tensors
        allow
    """
    for name in ("observation_space", "action_space"):
        if _one_hot_size(attributes[name]) > max_network_size(network_size(saved)):
            raise UnreadableCheckpointError(TOO_LARGE)
    kwargs = attributes.get("policy_kwargs", {})
    widths = list(_widths(kwargs.get("net_arch")))
    n_lstm_layers = kwargs.get("n_lstm_layers", 0)
    # a layer without units has no weights, however many numbers it reads
    if any(width < 1 for width in widths):
        raise UnreadableCheckpointError(f"{UNSUITABLE} layers without units")
    if len(widths) > len(saved) or (isinstance(n_lstm_layers, int) and n_lstm_layers > len(saved)):
        raise UnreadableCheckpointError(f"{UNSUITABLE} more layers than it has tensors")


def _one_hot_size(space: spaces.Space[Any]) -> int:
    """Count the numbers that networks read or return for the discrete parts of a space.

    The file holds the bounds of a box, and so is at least as large as that.
    """
    match space:
        case spaces.Discrete():
            return abs(int(space.n))
        case spaces.MultiDiscrete():
            return sum(abs(n) for n in space.nvec.ravel().tolist())
        case spaces.MultiBinary():
            return math.prod(space.shape)
        case spaces.Dict():
            return sum(map(_one_hot_size, space.spaces.values()))
    return 0


def _widths(net_arch: Any) -> Iterator[int]:
    """Iterate over the widths of all hidden layers, whose lists may be in a dict."""
    if isinstance(net_arch, int):
        yield net_arch
    elif isinstance(net_arch, list | tuple | dict):
        for layers in net_arch.values() if isinstance(net_arch, dict) else net_arch:
            yield from _widths(layers)


class NetworkSizeLimit(TorchFunctionMode):
    """Limits the networks that are created inside to the size of those in the file, regardless of its settings.

    :param size: the size of the file's networks, from :func:`network_size`
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size_left = max_network_size(size)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call PyTorch's function. Functions that allocate memory are counted first."""
        kwargs = kwargs or {}
        if func in (th.empty, th.zeros, th.ones):
            self._size_left -= _size(_requested_shape(args, kwargs))
            if self._size_left < 0:
                raise UnreadableCheckpointError(TOO_LARGE)
        return func(*args, **kwargs)


def _requested_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the shape in a call of ``torch.empty``, which takes ``2, 3``, ``(2, 3)`` or ``size=(2, 3)``."""
    if not args:
        return kwargs["size"]
    return args[0] if isinstance(args[0], tuple | list) else args


def check_optimizer_settings(optimizer: th.optim.Optimizer) -> None:
    """Check that an optimizer's saved settings are those of its class; ``load_state_dict`` does not.

    :param optimizer: the optimizer
    :raises UnreadableCheckpointError: if another kind of optimizer was saved
    """
    for group in optimizer.param_groups:
        missing = sorted((SETTINGS & optimizer.defaults.keys()) - group.keys())
        if missing:
            raise UnreadableCheckpointError(
                f"another optimizer than {type(optimizer).__name__} was saved, since {', '.join(missing)} are missing: "
                "build the model, replace its optimizer as before, and call set_parameters() with this file"
            )


def check_moments(optimizer: th.optim.Optimizer) -> None:
    """Check an optimizer's state, which ``load_state_dict`` does not, and lay it out in memory as its parameters.

    PyTorch's fused kernels rely on that: they would write beyond the memory of tensors whose numbers overlap.

    :param optimizer: the optimizer
    :raises UnreadableCheckpointError: if a moment has another shape than its parameter, is not finite, or no number
    """
    for param, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, th.Tensor):
                _check_moment(name, value, param)
                state[name] = _laid_out_as(param, value)
            elif name in CHECKED_STATES and not _may_be_plain(name, value):
                raise UnreadableCheckpointError(f"the optimizer's {name!r} is not a valid number")


def _check_moment(name: str, value: th.Tensor, param: th.Tensor) -> None:
    if name in CHECKED_STATES and not _fits(name, value.shape, param):
        raise UnreadableCheckpointError(
            f"the optimizer's {name!r} has the shape {tuple(value.shape)} for a parameter of {tuple(param.shape)}"
        )
    if not _is_finite(value):
        raise UnreadableCheckpointError(f"the optimizer's {name!r} is not finite")
    if name == "step" and value < 0:
        raise UnreadableCheckpointError(f"the optimizer's {name!r} is not a valid number")


def _may_be_plain(name: str, value: Any) -> bool:
    """Check a state that is no tensor: ``AdamTFLike`` counts in integers, and SGD without momentum has ``None``."""
    return is_finite_number(value, low=0.0) if name == "step" else value is None


def _fits(name: str, shape: th.Size, param: th.Tensor) -> bool:
    if name == "step":
        return math.prod(shape) == 1
    return shape == param.shape


def _laid_out_as(param: th.Tensor, value: th.Tensor) -> th.Tensor:
    if value.shape == param.shape:
        if value.stride() == param.stride():
            return value
        return th.empty_like(param, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)
    return value.clone(memory_format=th.contiguous_format)


def check_finite_weights(policy: nn.Module) -> None:
    """Check that a policy's weights are finite: with others, its actions would be meaningless.

    Buffers may hold infinity, such as a mask of an attention layer.

    :param policy: the policy
    :raises UnreadableCheckpointError: if some are not, naming them
    """
    for name, param in policy.named_parameters():
        if not _is_finite(param):
            raise UnreadableCheckpointError(
                f"its weights {name!r} are not finite: training diverged before it was saved"
            )


def _is_finite(tensor: th.Tensor) -> bool:
    # a finite sum proves it, 20 times faster, but large finite numbers can have an infinite one
    return bool(th.isfinite(tensor.sum()) or th.isfinite(tensor).all())
