"""Compiled environments: simulators in a few functions, which numba compiles (the extra ``[fast]``)."""

from sb3_a2c_td.compiled.checking import check_compiled_env
from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.compiled.gymnasium_env import CompiledGymnasiumEnv
from sb3_a2c_td.compiled.making import make_compiled_vec_env
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.compiled.vector_env import CompiledVectorEnv

__all__ = [
    "CompiledEnv",
    "CompiledGymnasiumEnv",
    "CompiledVecEnv",
    "CompiledVectorEnv",
    "check_compiled_env",
    "make_compiled_vec_env",
]
