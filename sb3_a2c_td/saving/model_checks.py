"""Checks while a model is built from a file: the size of its networks, and its optimizer's moments."""

import math
from typing import Any

import torch as th
from torch.overrides import TorchFunctionMode

from sb3_a2c_td.saving.errors import UnreadableCheckpointError

CHECKED_STATES = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "sum"})
"""states of optimizers whose shapes PyTorch's fused kernels do not check: with others they write out of bounds"""

SETTINGS = frozenset({"alpha", "betas", "eps", "lr", "momentum", "weight_decay"})
"""settings by which PyTorch's optimizers differ, and which each of their groups needs"""

SIZE_PER_TENSOR = 64
"""added for each tensor, so that many empty ones count too"""
MAX_GROWTH = 4
"""maximum size of the model's networks, in multiples of the file's"""
SLACK = 2**20
"""numbers that they may have beyond that"""


def network_size(saved: Any) -> int:
    """Count the numbers in tensors, and a bit for each tensor.

    :param saved: a tensor, or a dict of tensors and of dicts; other content counts nothing
    """
    if isinstance(saved, dict):
        return sum(map(network_size, saved.values()))
    return _size(saved.shape) if isinstance(saved, th.Tensor) else 0


def _size(shape: Any) -> int:
    return math.prod(map(int, shape)) + SIZE_PER_TENSOR


class NetworkSizeLimit(TorchFunctionMode):
    """Limits the networks that are created inside to the size of those in the file, regardless of its settings.

    :param size: the size of the file's networks, from :func:`network_size`
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size_left = MAX_GROWTH * size + SLACK

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call PyTorch's function. Functions that allocate memory are counted first."""
        kwargs = kwargs or {}
        if func in (th.empty, th.zeros, th.ones):
            self._size_left -= _size(_requested_shape(args, kwargs))
            if self._size_left < 0:
                raise UnreadableCheckpointError("its settings ask for networks much larger than those that it holds")
        return func(*args, **kwargs)


def _requested_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the shape in a call of ``torch.empty``, which takes ``2, 3``, ``(2, 3)`` or ``size=(2, 3)``."""
    if not args:
        return kwargs["size"]
    return args[0] if isinstance(args[0], tuple | list) else args


def check_moments(optimizer: th.optim.Optimizer) -> None:
    """Compare an optimizer's saved settings and state with its class and parameters; ``load_state_dict`` does not.

    :param optimizer: the optimizer
    :raises UnreadableCheckpointError: if another kind of optimizer was saved, or a moment has another shape than its
        parameter
    """
    for group in optimizer.param_groups:
        missing = sorted((SETTINGS & optimizer.defaults.keys()) - group.keys())
        if missing:
            raise UnreadableCheckpointError(
                f"another optimizer than {type(optimizer).__name__} was saved, since {', '.join(missing)} are missing: "
                "build the model, replace its optimizer as before, and call set_parameters() with this file"
            )
    for param, state in optimizer.state.items():
        for name in CHECKED_STATES & state.keys():
            shape = getattr(state[name], "shape", None)
            if shape is not None and not _fits(name, shape, param):
                raise UnreadableCheckpointError(
                    f"the optimizer's {name!r} has the shape {tuple(shape)} for a parameter of {tuple(param.shape)}"
                )


def _fits(name: str, shape: th.Size, param: th.Tensor) -> bool:
    if name == "step":
        return math.prod(shape) == 1
    return shape == param.shape
