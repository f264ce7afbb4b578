"""Checks while a model is built from a file: the size of its networks, and their weights."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from torch import nn
from torch.overrides import TorchFunctionMode

from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.optimizer_checks import is_finite
from sb3_a2c_td.saving.unpickling.pickled_states import INTEGER

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


def check_settings(attributes: dict[str, Any], size: int, n_tensors: int) -> None:
    """Check settings that would cost much time or memory before they ask for a single tensor.

    :param attributes: the model's attributes
    :param size: the size of the file's networks, from :func:`network_size`
    :param n_tensors: the number of their tensors
    :raises UnreadableCheckpointError: if the spaces have more numbers, or the networks more layers, than the tensors
        allow
    """
    if any(_one_hot_size(attributes[name]) > max_network_size(size) for name in ("observation_space", "action_space")):
        raise UnreadableCheckpointError(TOO_LARGE)
    kwargs = attributes.get("policy_kwargs", {})
    widths = list(_widths(kwargs.get("net_arch")))
    n_lstm_layers = kwargs.get("n_lstm_layers", 0)
    # a layer without units has no weights, however many numbers it reads
    if any(width < 1 for width in widths):
        raise UnreadableCheckpointError(f"{UNSUITABLE} layers without units")
    if len(widths) > n_tensors or (isinstance(n_lstm_layers, INTEGER) and n_lstm_layers > n_tensors):
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
    """Iterate over the widths of all hidden layers, in whatever containers they are."""
    if isinstance(net_arch, INTEGER):
        yield int(net_arch)
    elif isinstance(net_arch, np.ndarray):
        yield from _widths(net_arch.ravel().tolist())
    elif isinstance(net_arch, Iterable) and not isinstance(net_arch, str):
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


def check_finite_weights(policy: nn.Module) -> None:
    """Check that a policy's weights are finite: with others, its actions would be meaningless.

    Buffers may hold infinity, such as a mask of an attention layer.

    :param policy: the policy
    :raises UnreadableCheckpointError: if some are not, naming them
    """
    for name, param in policy.named_parameters():
        if not is_finite(param):
            raise UnreadableCheckpointError(
                f"its weights {name!r} are not finite: training diverged before it was saved"
            )
