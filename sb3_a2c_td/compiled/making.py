"""Makes compiled environments by their ids: the entry points of the registered ids, and SB3's ``VecEnv``."""

import importlib
from typing import cast

import gymnasium as gym

from sb3_a2c_td.arguments import checked_seed
from sb3_a2c_td.compiled import classic_control
from sb3_a2c_td.compiled.env import CompiledEnv
from sb3_a2c_td.compiled.gymnasium_env import CompiledGymnasiumEnv
from sb3_a2c_td.compiled.inventory import INVENTORY
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.compiled.vector_env import CompiledVectorEnv

ENVS = {
    "sb3_a2c_td/CartPole-v1": classic_control.CARTPOLE,
    "sb3_a2c_td/Acrobot-v1": classic_control.ACROBOT,
    "sb3_a2c_td/MountainCar-v0": classic_control.MOUNTAIN_CAR,
    "sb3_a2c_td/MountainCarContinuous-v0": classic_control.MOUNTAIN_CAR_CONTINUOUS,
    "sb3_a2c_td/Pendulum-v1": classic_control.PENDULUM,
    "sb3_a2c_td/Inventory-v0": INVENTORY,
}
"""the compiled environments of this package by their ids"""
VECTOR_ENTRY_POINTS = (
    "sb3_a2c_td.compiled.making:make_vector_env",
    "sb3_a2c_td.compiled:CompiledVectorEnv",
    CompiledVectorEnv,
)
"""vector entry points of ids that make compiled environments"""


def is_compiled(env_id: str) -> bool:
    """Check whether an id makes a compiled environment.

    :param env_id: a registered id; with a module in front, as in ``"module:Env-v0"``, the module is imported
    """
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    spec = gym.registry.get(name)
    # make_vec cannot add wrappers
    return spec is not None and spec.vector_entry_point in VECTOR_ENTRY_POINTS and not spec.additional_wrappers


def make_compiled_vec_env(env: CompiledEnv | str, n_envs: int = 1, seed: int | None = None) -> CompiledVecEnv:
    """Make an SB3 ``VecEnv`` of a compiled environment, as ``make_vec_env`` makes one of any environment.

    :param env: the environment, or a registered id of one
    :param n_envs: how many copies
    :param seed: the seed of the first copy; the next ones have the next numbers
    :raises ImportError: if numba is not installed
    :raises ValueError: if the id is none of a compiled environment, an argument is out of range, or a function does not
        compile
    """
    if isinstance(env, str):
        if not is_compiled(env):
            raise ValueError(f"env={env!r} is none of the compiled environments: {', '.join(ENVS)}")
        vec_env = CompiledVecEnv.sharing(cast(CompiledVectorEnv, gym.make_vec(env, n_envs)))
    else:
        vec_env = CompiledVecEnv(env, n_envs)
    if seed is not None:
        vec_env.seed(checked_seed(seed))
    return vec_env


def make_env(env_id: str, render_mode: str | None = None) -> CompiledGymnasiumEnv:
    """Make a single environment. This is the entry point of the registered ids; ``gym.make`` adds their time limit.

    :param env_id: one of :data:`ENVS`
    :param render_mode: see :class:`~sb3_a2c_td.compiled.CompiledGymnasiumEnv`
    """
    return CompiledGymnasiumEnv(ENVS[env_id], render_mode, max_episode_steps=-1)


def make_vector_env(
    env_id: str, num_envs: int = 1, max_episode_steps: int | None = None, render_mode: str | None = None
) -> CompiledVectorEnv:
    """Make a vector environment. This is the vector entry point of the registered ids.

    :param env_id: one of :data:`ENVS`
    :param num_envs: see :class:`~sb3_a2c_td.compiled.CompiledVectorEnv`
    :param max_episode_steps: see :class:`~sb3_a2c_td.compiled.CompiledVectorEnv`
    :param render_mode: see :class:`~sb3_a2c_td.compiled.CompiledVectorEnv`
    """
    return CompiledVectorEnv(ENVS[env_id], num_envs, max_episode_steps, render_mode)
