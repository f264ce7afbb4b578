"""The parameters of a plain MLP and the state of its Adam as views of one array, on which numpy and numba compute."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

from sb3_a2c_td.engines.change_detection import ModuleSnapshot, OptimizerSnapshot, unsupported_training_reasons
from sb3_a2c_td.engines.mlp_policy import PlainMlp, unsupported_policy_reason
from sb3_a2c_td.optimizers import AdamTFLike, step_size
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations

AdamSettings = tuple[tuple[float, float], float, float]
"""decay rates of the two moments; step size and epsilon with the bias correction of the next step"""


class MlpParameters:
    """The memory of a plain MLP, laid out for numpy and numba.

    The policy's parameters, their gradients and the optimizer's moments become views of the rows of one array, so that
    policy and optimizer see every change that is made to it.

    :param policy: a policy for which :func:`unsupported_reason` returns ``None``
    """

    flat: np.ndarray
    """``(4, n_params)`` float32: parameters, gradients, first and second moments; the actor's columns come first"""
    actor: np.ndarray
    """the actor's parameters, a view"""
    actor_widths: np.ndarray
    """int64: inputs, then the outputs of each layer"""
    critic_widths: np.ndarray
    """the same for the critic"""
    actor_net: list[np.ndarray]
    """weights and biases of the actor's layers, views"""
    actor_grads: list[np.ndarray]
    """their gradients, views"""
    critic_net: list[np.ndarray]
    """the same for the critic"""
    critic_grads: list[np.ndarray]
    """their gradients, views"""
    log_std: np.ndarray | None
    """log std of continuous actions, a view"""
    log_std_grad: np.ndarray
    """its gradient, a view"""
    like_tensorflow: bool
    """whether the optimizer is ``AdamTFLike``, or else PyTorch's ``Adam``"""

    def __init__(self, policy: SeparateNetworks) -> None:
        assert unsupported_reason(policy) is None
        mlp = PlainMlp(policy)
        self.continuous, self.use_tanh = mlp.continuous, mlp.use_tanh
        self._optimizer = policy.optimizer
        self.like_tensorflow = isinstance(policy.optimizer, AdamTFLike)
        self._parameters = mlp.actor + mlp.critic
        self._states = [self._optimizer.state[param] for param in self._parameters]
        self.actor_widths, self.critic_widths = _widths(mlp.actor), _widths(mlp.critic)
        self.n_parameters = sum(param.numel() for param in self._parameters)
        self.flat = np.zeros((4, self.n_parameters), np.float32)
        self.actor = self.flat[0, : sum(param.numel() for param in mlp.actor)]
        self._steps = np.zeros(len(self._parameters), np.float32)
        self._move()
        self._grads = [param.grad for param in self._parameters]
        self._set_views(n_actor=len(mlp.actor))
        self._modules = ModuleSnapshot(policy, mlp.actor_modules + mlp.critic_modules)
        self._optimizer_before = OptimizerSnapshot(policy, self.like_tensorflow)

    def _move(self) -> None:
        """Move parameters, gradients and moments into :attr:`flat`."""
        begin = 0
        for i, (param, state) in enumerate(zip(self._parameters, self._states, strict=True)):
            columns = self.flat[:, begin : begin + param.numel()]
            begin += param.numel()
            param.data = _moved(param.data, columns[0])
            param.grad = _moved(th.zeros_like(param), columns[1])
            state["exp_avg"] = _moved(state.get("exp_avg", th.zeros_like(param)), columns[2])
            state["exp_avg_sq"] = _moved(state.get("exp_avg_sq", th.zeros_like(param)), columns[3])
            step = state.get("step", 0)
            # AdamTFLike counts in integers, PyTorch's Adam in tensors
            state["step"] = int(step) if self.like_tensorflow else _moved(th.as_tensor(step), self._steps[i : i + 1])

    def _set_views(self, n_actor: int) -> None:
        arrays = [param.detach().numpy() for param in self._parameters]
        grads = [param.grad.numpy() for param in self._parameters if param.grad is not None]
        self.log_std, self.log_std_grad = arrays[n_actor - 1] if self.continuous else None, grads[n_actor - 1]
        n_layers = n_actor - 1 if self.continuous else n_actor
        self.actor_net, self.actor_grads = arrays[:n_layers], grads[:n_layers]
        self.critic_net, self.critic_grads = arrays[n_actor:], grads[n_actor:]

    def is_bound(self) -> bool:
        """Check whether policy and optimizer still consist of the same parts, in this memory."""
        return (
            self._modules.are_same()
            and self._optimizer_before.is_same()
            and _unsupported_optimizer_reason(self._optimizer) is None
        )

    def rows(self, observations: Observations, n_rows: int) -> np.ndarray:
        """Return observations as ``(n_rows, n_inputs)`` float32, contiguous.

        :param observations: ``(n_rows, *observation_shape)``
        :param n_rows: the number of rows
        :raises ValueError: if they have another shape
        """
        return as_rows(observations, np.float32, int(self.actor_widths[0]), "observations", n_rows)

    def restore_gradients(self) -> None:
        """Restore the parameters' gradients of the last update, after ``zero_grad()`` removed them."""
        if self._parameters[0].grad is not self._grads[0]:
            for param, grad in zip(self._parameters, self._grads, strict=True):
                param.grad = grad

    def actor_adam(self) -> AdamSettings:
        """Return the settings of Adam's next step for the actor."""
        return self._adam(self._optimizer.param_groups[0], self._states[0])

    def critic_adam(self) -> AdamSettings:
        """Return the settings of Adam's next step for the critic."""
        return self._adam(self._optimizer.param_groups[1], self._states[-1])

    def _adam(self, group: dict[str, Any], state: dict[str, Any]) -> AdamSettings:
        (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
        step = int(state["step"]) + 1
        if self.like_tensorflow:
            return (beta1, beta2), step_size(lr, (beta1, beta2), step, th.float32), eps
        root = math.sqrt(1 - beta2**step)
        return (beta1, beta2), lr * root / (1 - beta1**step), eps * root

    def count_steps(self, n: int = 1) -> None:
        """Count steps in the optimizer's state.

        :param n: how many were taken
        """
        if self.like_tensorflow:
            for state in self._states:
                state["step"] += n
        else:
            self._steps += n

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups: the actor's and the critic's."""
        return self._optimizer.param_groups

    @property
    def n_steps(self) -> tuple[int, int]:
        """The steps that the optimizer's state counts, of the actor and of the critic."""
        return int(self._states[0]["step"]), int(self._states[-1]["step"])


def unsupported_reason(policy: SeparateNetworks) -> str | None:
    """Return why a policy cannot be a :class:`MlpParameters`; ``None`` if it can.

    It must be a plain MLP, in float32 on the CPU, trained by ``AdamTFLike`` or PyTorch's ``Adam`` without extras.

    :param policy: the policy
    """
    return unsupported_policy_reason(policy) or next(_unsupported_reasons(PlainMlp(policy), policy.optimizer), None)


def as_rows(array: Observations, dtype: npt.DTypeLike, width: int, name: str, n_rows: int) -> np.ndarray:
    """Return an array as ``(n_rows, width)`` of a dtype, contiguous and writeable, as compiled code needs it.

    Compiled code checks no index: with another shape, it would read or write beyond the array.

    :param array: ``(n_rows, ...)``
    :param dtype: the dtype
    :param width: numbers in a row
    :param name: the array's name, for errors
    :param n_rows: the number of rows
    :raises ValueError: if there are more or fewer rows, or they have another width, or are not finite in the new dtype
    """
    assert isinstance(array, np.ndarray)
    if array.ndim != 2:
        array = array.reshape(len(array), -1)
    if array.shape != (n_rows, width):
        raise ValueError(
            f"{name}: expected {n_rows} rows of {width} numbers, got {len(array)} rows of {array.shape[1]}"
        )
    # carray: contiguous, aligned and writeable
    if array.dtype == dtype and array.flags.carray:
        return array
    with np.errstate(over="ignore"):
        rows = np.require(array, dtype, ("C", "A", "W"))
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise ValueError(f"{name}: not finite as {rows.dtype}; scale them (VecNormalize)")
    return rows


def _widths(parameters: Sequence[th.Tensor]) -> np.ndarray:
    """Return the widths of layers from their weights and biases (and log std, which is a vector too)."""
    weights = [param for param in parameters if param.ndim == 2]
    return np.array([weights[0].shape[1], *(len(weight) for weight in weights)], np.int64)


def _moved(tensor: th.Tensor, flat: np.ndarray) -> th.Tensor:
    """Copy a tensor into a flat array, and return that array's memory in the shape of the tensor."""
    return th.from_numpy(flat).view(tensor.shape).copy_(tensor)


def _unsupported_reasons(mlp: PlainMlp, optimizer: th.optim.Optimizer) -> Iterator[str]:
    for param in mlp.actor + mlp.critic:
        if param.device.type != "cpu":
            yield f"the device is {param.device}, not the CPU"
        if param.is_shared():
            yield "a parameter is in shared memory"
    reason = _unsupported_optimizer_reason(optimizer)
    if reason is not None:
        yield reason
    yield from unsupported_training_reasons(mlp.actor + mlp.critic, optimizer)
    groups = [set(map(id, group["params"])) for group in optimizer.param_groups]
    if groups != [set(map(id, mlp.actor)), set(map(id, mlp.critic))]:
        yield "the optimizer's groups are not the actor's and the critic's parameters"


def _unsupported_optimizer_reason(optimizer: th.optim.Optimizer) -> str | None:
    if type(optimizer) not in (AdamTFLike, th.optim.Adam):
        return f"the optimizer is {type(optimizer).__name__}, not AdamTFLike or Adam"
    for group in optimizer.param_groups:
        if group.get("weight_decay") or group.get("amsgrad") or group.get("maximize"):
            return "the optimizer has a weight decay, amsgrad or maximize"
    return None
