"""PyTorch's threads: small networks take one, since several would wait for each other."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

MAX_PRODUCTS_OF_ONE_THREAD = 2**25
"""rows times weights at which two threads save a fifth of the time on an idle machine; on a busy one they lose most"""


@contextmanager
def one_thread_if_small(policy: BasePolicy, n_rows: int) -> Iterator[None]:
    """Keep PyTorch to one thread while a small policy computes; a large one keeps its threads.

    This depends on sizes only, so that a machine always computes the same. Other threads of the process keep their
    number, except for those that use PyTorch for the first time meanwhile.

    :param policy: a policy with an optimizer of its parameters
    :param n_rows: the number of observations
    """
    n_threads = th.get_num_threads()
    if n_threads == 1 or n_rows * _n_products(policy) > MAX_PRODUCTS_OF_ONE_THREAD:
        yield
        return
    th.set_num_threads(1)
    try:
        yield
    finally:
        th.set_num_threads(n_threads)


def n_rows(batch: Any) -> int:
    """Count the rows of a batch.

    :param batch: something with a length, or a dict of arrays or tensors
    """
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)


def _n_products(policy: BasePolicy) -> int:
    """Count the multiplications by weights in one row, at most: as if there were a convolution at every pixel."""
    n_pixels = _n_pixels(policy.observation_space)
    parameters = (param for group in policy.optimizer.param_groups for param in group["params"])
    return sum(param.numel() * (n_pixels if param.dim() > 2 else 1) for param in parameters)


def _n_pixels(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Dict):
        return max(_n_pixels(each) for each in space.spaces.values())
    # channels come first
    return math.prod((space.shape or ())[1:])
