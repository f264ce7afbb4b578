"""Compiled environments: simulators in a few functions, which numba compiles (the extra ``[fast]``)."""

from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv

__all__ = ["CompiledEnv", "CompiledVecEnv"]
