"""Adam as Keras writes it."""

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch as th
from torch.optim.optimizer import Optimizer, ParamsT


class AdamTFLike(Optimizer):
    r"""Adam with :math:`\epsilon` where TensorFlow and Keras put it: before the bias correction of :math:`\sqrt v`.

    .. math::

        m \leftarrow \beta_1 m + (1-\beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1-\beta_2) g^2, \qquad
        \theta \leftarrow \theta - \alpha \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon}

    This is the form "just before section 2.1" of Kingma & Ba, *Adam* (2014), https://arxiv.org/abs/1412.6980, with
    their :math:`\hat\epsilon`. PyTorch's Adam adds :math:`\epsilon` after the correction, which is the same as
    :math:`\hat\epsilon_t = \epsilon \sqrt{1-\beta_2^t}`: smaller in the early steps. SB3 has a precedent in
    ``RMSpropTFLike``.

    :param params: parameters, or groups of them, to optimise
    :param lr: step size :math:`\alpha` (Keras's default)
    :param betas: decay rates :math:`\beta_1, \beta_2` of the two moments
    :param eps: :math:`\epsilon` (Keras's default)
    :raises ValueError: where an argument is out of range
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
        # numpy's scalars could be saved, but not loaded with weights_only=True
        super().__init__(params, {"lr": float(lr), "betas": tuple(map(float, betas)), "eps": float(eps)})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @th.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step along the gradients that the parameters hold; those without one stay as they are.

        :param closure: computes the loss anew, with its gradients
        :return: the loss, if there is a closure
        """
        loss = None
        if closure is not None:
            with th.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, group)
        return loss

    def _update(self, param: th.Tensor, group: dict[str, Any]) -> None:
        assert param.grad is not None
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = th.zeros_like(param)
            state["exp_avg_sq"] = th.zeros_like(param)
        state["step"] += 1
        m, v, (beta1, beta2) = state["exp_avg"], state["exp_avg_sq"], group["betas"]
        m.lerp_(param.grad, 1 - beta1)
        v.mul_(beta2).addcmul_(param.grad, param.grad, value=1 - beta2)
        step_size = _step_size(group["lr"], beta1, beta2, state["step"], param.dtype)
        param.addcdiv_(m, v.sqrt().add_(group["eps"]), value=-step_size)


def _step_size(lr: float, beta1: float, beta2: float, step: int, dtype: th.dtype) -> float:
    # Like Keras, in the parameters' precision: float32 gets 1 - 0.999 wrong by a part in 1e5, and runs drift apart.
    real = np.float64 if dtype == th.float64 else np.float32
    return float(real(lr) * np.sqrt(1 - real(beta2) ** step) / (1 - real(beta1) ** step))
