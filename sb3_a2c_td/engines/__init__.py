"""Engines: how TDA2C draws actions and takes an update. They compute the same and differ in speed.

``"torch"``, the reference, serves every policy on every device. ``"numba"`` (the extra ``[fast]``) compiles both for
plain MLP policies on the CPU. ``"cuda"`` records both in CUDA graphs. ``"auto"`` takes the fastest that is exact for
the policy; not ``"cuda"``, which has not yet run on a GPU.
"""

from sb3_a2c_td.engines.auto import AutoEngine
from sb3_a2c_td.engines.cuda_graph import CudaEngine
from sb3_a2c_td.engines.interface import DivergenceError, Engine, Objective, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.numpy_mlp import TorchEngine
from sb3_a2c_td.policies.separate import SeparateNetworks

ENGINES = ("auto", "torch", "numba", "cuda")
"""what ``TDA2C(engine=...)`` takes"""

__all__ = ["ENGINES", "DivergenceError", "Engine", "Objective", "UnsupportedPolicyError", "Update", "make_engine"]


def make_engine(name: str, policy: SeparateNetworks) -> Engine:
    """Build the engine that a name stands for.

    :param name: one of ``ENGINES``
    :param policy: the policy to act for and to update
    :raises ValueError: if there is no such engine, or if it cannot serve the policy, saying why
    """
    if name == "auto":
        return AutoEngine(policy)
    if name == "torch":
        return TorchEngine(policy)
    if name == "numba":
        try:
            from sb3_a2c_td.engines.numba_mlp import NumbaEngine  # numba is an extra, and slow to import
        except ImportError as error:
            raise ValueError("engine='numba' needs numba: pip install 'sb3-a2c-td[fast]'") from error
        except RuntimeError as error:
            raise UnsupportedPolicyError(name, f"numba failed: {error}") from error
        return NumbaEngine(policy)
    if name == "cuda":
        return CudaEngine(policy)
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
