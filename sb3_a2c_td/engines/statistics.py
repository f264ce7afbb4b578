"""Statistics of a batch's TD errors, for the log."""

import math
from typing import NamedTuple

import numpy as np


class TDStatistics(NamedTuple):
    """Statistics of the TD errors of a batch."""

    mean: float
    std: float
    explained_variance: float
    """the share of the targets' variance that the values explain; NaN if all targets are equal"""


@np.errstate(over="ignore", invalid="ignore")
def td_statistics(targets: np.ndarray, td_errors: np.ndarray) -> TDStatistics:
    r"""Compute mean and standard deviation of the TD errors, and the explained variance.

    The latter is :math:`1 - \operatorname{var}(y - V(s)) / \operatorname{var}(y)`. Overflows give infinity or NaN,
    without a warning, since TDA2C then raises an error about the loss.

    :param targets: :math:`y`, ``(N,)`` float32
    :param td_errors: :math:`y - V(s)`, ``(N,)`` float32
    """
    std, target_std = float(td_errors.std()), float(targets.std(dtype=np.float64))
    explained_variance = math.nan if target_std == 0.0 else 1.0 - (std / target_std) ** 2
    return TDStatistics(float(td_errors.mean()), std, explained_variance)
