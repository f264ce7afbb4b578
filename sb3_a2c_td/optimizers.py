"""Adam with Keras's epsilon."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, cast, overload

import numpy as np
import torch as th
from torch.optim.optimizer import Optimizer, ParamsT

MIN_EPS_WITH_BOUND = 1e-18
"""smallest epsilon for which :func:`max_parameter_change` is known to hold in float32"""


class AdamTFLike(Optimizer):
    r"""Adam that adds :math:`\epsilon` before the bias correction of :math:`\sqrt v`, as TensorFlow and Keras do.

    .. math::

        m \leftarrow \beta_1 m + (1-\beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1-\beta_2) g^2, \qquad
        \theta \leftarrow \theta - \alpha \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon}

    Kingma & Ba give this form with :math:`\hat\epsilon` just before section 2.1 of *Adam* (2014),
    https://arxiv.org/abs/1412.6980. PyTorch's Adam adds :math:`\epsilon` after the correction, which equals
    :math:`\hat\epsilon_t = \epsilon \sqrt{1-\beta_2^t}`, a smaller value in the early steps. The class is to Adam what
    SB3's ``RMSpropTFLike`` is to RMSprop.

    :param params: parameters or parameter groups to optimize
    :param lr: step size :math:`\alpha`; the default is Keras's
    :param betas: decay rates :math:`\beta_1, \beta_2` of the two moments
    :param eps: :math:`\epsilon`; the default is Keras's
    :raises ValueError: if an argument is out of range
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
    ) -> None:
        if not lr >= 0.0:
            raise ValueError(f"lr must be at least 0, got {lr}")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        if not eps >= 0.0:
            raise ValueError(f"eps must be at least 0, got {eps}")
        # numpy scalars could be saved, but not loaded with weights_only=True
        super().__init__(params, {"lr": float(lr), "betas": tuple(map(float, betas)), "eps": float(eps)})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @th.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one optimization step. Parameters without a gradient are left unchanged.

        :param closure: recomputes the loss and its gradients
        :return: the loss of the closure, or ``None`` without one
        """
        loss = None
        if closure is not None:
            with th.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for (step, dtype, _), params in self._fusible_params(group).items():
                alpha_t = step_size(group["lr"], group["betas"], step, dtype)
                self._update(params, group, alpha_t)
        return loss

    def _fusible_params(self, group: dict[str, Any]) -> dict[tuple[int, th.dtype, th.device], list[th.Tensor]]:
        """Group the parameters with a gradient by step count, dtype and device, for one fused kernel each."""
        fusible: dict[tuple[int, th.dtype, th.device], list[th.Tensor]] = {}
        for param in group["params"]:
            if param.grad is not None:
                fusible.setdefault((self._count_step(param), param.dtype, param.device), []).append(param)
        return fusible

    def _count_step(self, param: th.Tensor) -> int:
        """Increment and return a parameter's step count, creating its state at the first step."""
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = th.zeros_like(param)
            state["exp_avg_sq"] = th.zeros_like(param)
        state["step"] += 1
        step: int = state["step"]
        return step

    def _update(self, params: list[th.Tensor], group: dict[str, Any], alpha_t: float) -> None:
        states = [self.state[param] for param in params]
        grads = [cast(th.Tensor, param.grad) for param in params]
        moments = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")]
        # the fused kernel ignores strides
        contiguous = [[tensor.contiguous() for tensor in tensors] for tensors in (params, grads, *moments)]
        fused_adam(contiguous, group["betas"], alpha_t, group["eps"])
        for original, updated in zip(chain(params, *moments), chain(contiguous[0], *contiguous[2:]), strict=True):
            if updated is not original:
                original.copy_(updated)


def fused_adam(
    tensors: Sequence[list[th.Tensor]],
    betas: tuple[float, float],
    alpha_t: float | th.Tensor,
    eps: float,
    found_inf: th.Tensor | None = None,
) -> None:
    r"""Take one step of Adam in place with PyTorch's fused kernel.

    .. math::

        \theta \leftarrow \theta - \alpha_t \frac{m}{\sqrt v + \epsilon}

    :param tensors: :math:`\theta`, :math:`g`, :math:`m` and :math:`v` as four lists of contiguous tensors, all of one
        dtype and on one device
    :param betas: decay rates of the two moments
    :param alpha_t: bias-corrected step size, see :func:`step_size`; the kernel reads a tensor when it runs
    :param eps: :math:`\epsilon`
    :param found_inf: a scalar; if it is 1, the kernel takes no step
    """
    params, grads, exp_avgs, exp_avg_sqs = tensors
    th._fused_adam_(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        [],
        # with an infinite step count PyTorch corrects no bias; alpha_t contains the correction
        [th.full((), th.inf, device=params[0].device)] * len(params),
        amsgrad=False,
        lr=alpha_t,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=0.0,
        eps=eps,
        maximize=False,
        found_inf=found_inf,
    )


def max_parameter_change(optimizer: Optimizer) -> float:
    r"""Bound the change of a parameter in one step, for any sequence of gradients.

    Both moments of Adam are sums over the same gradients, :math:`m_t = (1-\beta_1) \sum_i \beta_1^i g_{t-i}` and
    :math:`v_t = (1-\beta_2) \sum_i \beta_2^i g_{t-i}^2`, so the Cauchy–Schwarz inequality gives

    .. math::

        \frac{|m_t|}{\sqrt{v_t}} \le \frac{1-\beta_1}{\sqrt{(1-\beta_2)(1-\beta_1^2/\beta_2)}}
        \quad\text{if } \beta_1^2 < \beta_2.

    The function returns twice this bound: with an :math:`\epsilon` of at least :data:`MIN_EPS_WITH_BOUND`, that holds
    even where squared gradients underflow in float32.

    :param optimizer: the optimizer
    :return: the bound for ``AdamTFLike`` and for PyTorch's ``Adam`` without weight decay, infinity for other optimizers
    """
    if type(optimizer) not in (AdamTFLike, th.optim.Adam):
        return math.inf
    return max(_max_change_by_adam(group) for group in optimizer.param_groups)


def _max_change_by_adam(group: dict[str, Any]) -> float:
    beta1, beta2 = group["betas"]
    if group.get("weight_decay") or group["eps"] < MIN_EPS_WITH_BOUND or beta1**2 >= beta2:
        return math.inf
    # 1 / (1 - beta1) is the largest bias correction
    ratio = (1.0 - beta1) / math.sqrt((1.0 - beta2) * (1.0 - beta1**2 / beta2))
    return float(2.0 * ratio * group["lr"] / (1.0 - beta1))


def step_size(lr: float, betas: tuple[float, float], step: int, dtype: th.dtype) -> float:
    r"""Compute :math:`\alpha \sqrt{1-\beta_2^t} / (1-\beta_1^t)` in the precision of the parameters, as Keras does.

    In float32, 1 - 0.999 has a relative error of 1e-5. With more precision, TDA2C and the reference would diverge over
    several hundred updates.

    :param lr: :math:`\alpha`
    :param betas: :math:`\beta_1, \beta_2`
    :param step: :math:`t`, from 1
    :param dtype: dtype of the parameters
    :return: the bias-corrected step size
    """
    real = np.float64 if dtype == th.float64 else np.float32
    correction1, root_correction2 = _bias_corrections(tuple(betas), step, real)
    return float(real(lr) * root_correction2 / correction1)


@lru_cache(maxsize=2)  # both networks take the same step
def _bias_corrections(betas: tuple[float, float], step: int, real: type[np.floating[Any]]) -> tuple[Any, Any]:
    beta1, beta2 = real(betas[0]), real(betas[1])
    return 1 - beta1**step, np.sqrt(1 - beta2**step)
