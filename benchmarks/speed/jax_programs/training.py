"""What the server runs."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Training(NamedTuple):
    """A compiled training."""

    run: Callable[[int], Any]
    """trains with a seed from scratch"""
    mean_return: Callable[[Any], float]
    """returns the mean return at the end of a training, from what :attr:`run` returned"""
    n_steps: int
    """environment steps of a training"""
