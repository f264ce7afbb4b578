"""Checks of an optimizer's settings and state from a file. ``load_state_dict`` takes any, and steps would fail later.

PyTorch's fused kernels check neither shapes nor strides: with others, they write beyond the memory of tensors.
"""

import inspect
from typing import Any

import torch as th
from torch import nn
from torch.optim import Optimizer

from sb3_a2c_td.arguments import is_finite_number
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, printable
from sb3_a2c_td.saving.unpickling.allowed_types import OPTIMIZERS

MOMENTS = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "sum"})
"""states of the shape of their parameter, which the fused kernels read, in optimizers of a user's own class"""
MAX_STEP = 2**53
"""maximum number of steps: floats count no further"""
MAX_REASON = 200
"""maximum length of PyTorch's own reason in errors"""


def check_optimizer(optimizer: Optimizer) -> None:
    """Check an optimizer that was loaded from a file, and lay its moments out in memory as their parameters.

    :param optimizer: the optimizer
    :raises UnreadableCheckpointError: if it misses settings, cannot take a step with them, or if a part of its state is
        missing, has another shape than its parameter, or is not finite
    """
    for group in optimizer.param_groups:
        _check_settings(optimizer, group)
        examples = _examples(optimizer, group)
        for param in group["params"]:
            if optimizer.state.get(param):
                _check_state(optimizer, param, examples[param.ndim])
    if not all(isinstance(param, th.Tensor) for param in optimizer.state):
        raise UnreadableCheckpointError("the optimizer has a state of parameters that the model does not have")


def _check_settings(optimizer: Optimizer, group: dict[str, Any]) -> None:
    # files of older versions of PyTorch miss flags
    needed = {name for name, default in optimizer.defaults.items() if not isinstance(default, bool | None)}
    missing = sorted(needed - group.keys())
    if missing:
        raise UnreadableCheckpointError(
            f"another optimizer than {type(optimizer).__name__} was saved, since {', '.join(missing)} are missing: "
            "build the model, replace its optimizer as before, and call set_parameters() with this file"
        )
    for name, default in optimizer.defaults.items():
        if not _is_like(group.get(name, default), default):
            raise UnreadableCheckpointError(f"the optimizer's setting {name!r} is not of the kind of {default}")


def _is_like(value: Any, default: Any) -> bool:
    """Check that a setting has the type of its default, and that its numbers are finite."""
    if default is None:
        return value is None or isinstance(value, bool | str) or is_finite_number(value)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, tuple | list):
        return (
            isinstance(value, tuple | list)
            and len(value) == len(default)
            and all(_is_like(one, default_one) for one, default_one in zip(value, default, strict=True))
        )
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool) and is_finite_number(value)
    return True


def _examples(optimizer: Optimizer, group: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the states after one step on small parameters, which show what a state consists of.

    :param optimizer: the optimizer
    :param group: one of its groups, whose settings PyTorch checks here
    :return: a state for each number of axes; an empty one for an optimizer of a user's own kind
    :raises UnreadableCheckpointError: if there can be no step
    """
    kind = _kind(optimizer)
    small = {param.ndim: _small(param) for param in group["params"]}
    if kind is None:
        return {ndim: {} for ndim in small}
    settings = {**group, "params": list(small.values())}
    try:
        example = kind(**{name: settings[name] for name in inspect.signature(kind).parameters if name in settings})
        # also those that are no arguments
        example.param_groups[0].update(settings)
        example.step()
    except Exception as error:
        reason = printable(str(error), MAX_REASON)
        raise UnreadableCheckpointError(
            f"{kind.__name__} cannot take a step with the optimizer's settings ({type(error).__name__}: {reason})"
        ) from error
    return {ndim: dict(example.state[param]) for ndim, param in small.items()}


def _small(param: th.Tensor) -> nn.Parameter:
    """Return a parameter like another one, apart from its size, with a gradient of zeros."""
    small = nn.Parameter(th.zeros(_small_shape(param), dtype=param.dtype, device=param.device))
    small.grad = th.zeros_like(small)
    return small


def _kind(optimizer: Optimizer) -> Any:
    """Return the class of an optimizer, or the first base of it, whose steps are known; ``None`` if there is none."""
    return next((kind for kind in type(optimizer).__mro__ if kind in OPTIMIZERS and kind is not Optimizer), None)


def _small_shape(param: th.Tensor) -> tuple[int, ...]:
    # no two axes alike, so that sums over one of them have another shape
    return tuple(range(2, 2 + param.ndim))


def _check_state(optimizer: Optimizer, param: th.Tensor, example: dict[str, Any]) -> None:
    state = optimizer.state[param]
    # a user's subclass may have its own
    missing = sorted(example.keys() - state.keys()) if type(optimizer) in OPTIMIZERS else []
    if missing:
        raise UnreadableCheckpointError(f"the optimizer has no {', '.join(map(repr, missing))} for some parameters")
    for name, value in state.items():
        like = example.get(name)
        if isinstance(value, th.Tensor):
            _check_tensor(name, value, param, like)
            state[name] = _laid_out_as(param, value)
        if not _is_of_kind(name, value, like):
            raise UnreadableCheckpointError(f"the optimizer's {name!r} is not a valid number")


def _check_tensor(name: str, value: th.Tensor, param: th.Tensor, like: Any) -> None:
    shape = _shape(name, param, like)
    if shape is not None and value.shape != shape and not (shape == () and value.numel() == 1):
        raise UnreadableCheckpointError(
            f"the optimizer's {name!r} has the shape {tuple(value.shape)} for a parameter of {tuple(param.shape)}"
        )
    if not is_finite(value):
        raise UnreadableCheckpointError(f"the optimizer's {name!r} is not finite")


def _shape(name: str, param: th.Tensor, like: Any) -> tuple[int, ...] | None:
    """Return the shape of a state; ``None`` if it may be any."""
    if isinstance(like, th.Tensor):
        if like.shape == _small_shape(param):
            return param.shape
        return () if like.numel() == 1 else None
    if name == "step":
        return ()
    return param.shape if name in MOMENTS else None


def _is_of_kind(name: str, value: Any, like: Any) -> bool:
    if isinstance(value, th.Tensor):
        is_valid = like is None or (isinstance(like, th.Tensor) and value.is_floating_point())
        return is_valid and (name != "step" or bool((value >= 0).all()))
    if isinstance(like, int | float):
        return type(value) is type(like) and is_finite_number(value, low=0.0, high=MAX_STEP)
    # SGD without momentum has None in older versions of PyTorch
    return like is None and (name not in {"step", *MOMENTS} or value is None or is_finite_number(value, low=0.0))


def _laid_out_as(param: th.Tensor, value: th.Tensor) -> th.Tensor:
    if value.shape == param.shape:
        if value.stride() == param.stride():
            return value
        return th.empty_like(param, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)
    return value.clone(memory_format=th.contiguous_format)


def is_finite(tensor: th.Tensor) -> bool:
    """Check that all numbers of a tensor are finite.

    :param tensor: the tensor
    """
    # a finite sum proves it, 20 times faster, but large finite numbers can have an infinite one
    return bool(th.isfinite(tensor.sum()) or th.isfinite(tensor).all())
