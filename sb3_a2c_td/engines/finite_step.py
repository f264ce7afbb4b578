"""An optimizer step that leaves the parameters finite: if it would not, they stay as they were."""

import math

import torch as th

from sb3_a2c_td.engines.interface import INFINITE_STEP, DivergenceError
from sb3_a2c_td.optimizers import max_parameter_change

SAFE_STEP = 1e37
"""smaller steps make no parameter infinite that is not close to overflow already, so they need no copy"""


@th.no_grad()
def take_finite_step(optimizer: th.optim.Optimizer) -> None:
    """Take a step of the optimizer; if it fails, or parameters would not be finite, they stay as they are.

    :param optimizer: the optimizer, with the gradients in place
    :raises DivergenceError: if parameters would not be finite
    """
    if max_parameter_change(optimizer) < SAFE_STEP:
        optimizer.step()
        return
    params = [param for group in optimizer.param_groups for param in group["params"]]
    before = [param.clone() for param in params]
    try:
        optimizer.step()
        if not th.stack(th._foreach_norm(params, math.inf)).isfinite().all():
            raise DivergenceError(INFINITE_STEP)
    except BaseException:
        for param, last in zip(params, before, strict=True):
            param.copy_(last)
        raise
