"""Engines: how TDA2C draws actions and takes an update. They compute the same and differ in speed.

- ``"autograd"``, the reference: any policy on any device, with PyTorch's automatic differentiation;
- ``"numpy"``: plain MLP policies on the CPU, with gradients in closed form;
- ``"numba"`` (the extra ``[fast]``): the same, compiled;
- ``"cuda"``: both steps recorded in CUDA graphs. Experimental: it has not run on a GPU yet;
- ``"auto"``: the fastest of the first three that supports the policy; ``"numba"`` only in long trainings.
"""

import math
import warnings
from collections.abc import Callable

from sb3_a2c_td import extras
from sb3_a2c_td.engines.auto import AutoEngine
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.cuda_graph import CudaEngine
from sb3_a2c_td.engines.interface import (
    DivergenceError,
    Engine,
    GradientReducer,
    LossConfig,
    UnsupportedPolicyError,
    Update,
)
from sb3_a2c_td.engines.numpy_mlp import NumpyEngine
from sb3_a2c_td.policies.separate import SeparateNetworks

ENGINES = ("auto", "autograd", "numpy", "numba", "cuda")
"""values of ``TDA2C(engine=...)``"""

__all__ = [
    "ENGINES",
    "DivergenceError",
    "Engine",
    "GradientReducer",
    "LossConfig",
    "UnsupportedPolicyError",
    "Update",
    "make_engine",
]


def make_engine(
    name: str,
    policy: SeparateNetworks,
    reducer: GradientReducer | None = None,
    n_numpy_updates: Callable[[], float] = lambda: math.inf,
) -> Engine:
    """Build an engine.

    :param name: one of ``ENGINES``
    :param policy: the policy to act for and to update
    :param reducer: combines the gradients of several processes; ``None``: there is one process
    :param n_numpy_updates: returns after how many updates ``"auto"`` changes to numba; infinity: never
    :raises ValueError: if there is no such engine, or if it does not support the policy or the reducer
    """
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if name == "auto":
        return AutoEngine(policy, reducer, n_numpy_updates)
    if name == "autograd":
        return AutogradEngine(policy, reducer)
    if name == "numpy":
        return NumpyEngine(policy, reducer)
    if reducer is not None:
        raise UnsupportedPolicyError(name, "it does not combine gradients of several processes")
    return _make_numba_engine(policy) if name == "numba" else _make_cuda_engine(policy)


def _make_numba_engine(policy: SeparateNetworks) -> Engine:
    try:
        from sb3_a2c_td.engines.numba_mlp import NumbaEngine  # numba is an extra, and slow to import
    except ImportError as error:
        raise ValueError(f"engine='numba' needs numba: {extras.install('fast')}") from error
    except RuntimeError as error:
        raise UnsupportedPolicyError("numba", f"numba failed: {error}") from error
    return NumbaEngine(policy)


def _make_cuda_engine(policy: SeparateNetworks) -> Engine:
    engine = CudaEngine(policy)
    warnings.warn(
        "engine='cuda' is experimental: its developers have not run it on a GPU yet. Compare its results with those of "
        "engine='autograd'",
        stacklevel=2,
    )
    return engine
