"""What a saved model records about its environment, so that others can make it again."""

import json
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_a2c_td.compiled.batch import NO_LIMIT
from sb3_a2c_td.compiled.making import ENVS
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv

WITHOUT_RECORD = (VecMonitor, VecNormalize, VecTransposeImage)
"""wrappers that need no record: the model holds the statistics of the second, SB3 adds the third itself"""
MONITOR = "Monitor"
REGISTERED_WITHOUT_IMPORT = ("gymnasium", "minatar", "sb3_a2c_td")
"""packages whose environments need no ``module:`` in front of the id"""
OF_COPIES = ("render_mode", "num_envs", "vectorization_mode", "vector_kwargs")
"""arguments that say how many copies there are and how they are shown; ``gymnasium.make_vec`` records them"""


def recorded_env(env: VecEnv) -> dict[str, Any] | None:
    """Return the id and the arguments with which Gymnasium makes an environment.

    :param env: the environment of a model
    :return: ``{"id": ..., "kwargs": ...}``; ``None`` if Gymnasium did not make it in this process, if wrappers change
        it, if it is defined in the script that runs, or if the arguments are more than numbers, text and lists
    """
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, WITHOUT_RECORD):
            return None
        env = env.venv
    if isinstance(env, CompiledVecEnv):
        return _recorded_compiled_env(env)
    spec = _spec_of(env)
    if spec is None or any(wrapper.name != MONITOR for wrapper in spec.additional_wrappers):
        return None
    registered = gym.registry.get(spec.id)
    module = _module_of(spec)
    if registered is None or module == "__main__":
        return None
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in OF_COPIES}
    if not _is_plain(kwargs):
        return None
    # the id stands for those that it is registered with
    kwargs = {name: value for name, value in kwargs.items() if registered.kwargs.get(name) != value}
    if spec.max_episode_steps != registered.max_episode_steps:
        kwargs["max_episode_steps"] = _limit(spec.max_episode_steps)
    is_known = module.partition(".")[0] in REGISTERED_WITHOUT_IMPORT
    return {"id": spec.id if is_known else f"{module}:{spec.id}", "kwargs": kwargs}


def _recorded_compiled_env(env: CompiledVecEnv) -> dict[str, Any] | None:
    env_id = next((name for name, each in ENVS.items() if each is env.compiled_env), None)
    if env_id is None:
        return None
    is_default = env.max_episode_steps == env.compiled_env.max_episode_steps
    return {"id": env_id, "kwargs": {} if is_default else {"max_episode_steps": _limit(env.max_episode_steps)}}


def _limit(max_episode_steps: int | None) -> int:
    """Return a time limit as ``gymnasium.make`` takes it."""
    return -1 if max_episode_steps in (None, NO_LIMIT) else int(max_episode_steps)


def _spec_of(env: VecEnv) -> EnvSpec | None:
    if isinstance(env, GymnasiumVecEnv):
        return None if isinstance(env.env, gym.vector.VectorWrapper) else env.env.spec
    # a worker process may be unable to send it
    return env.envs[0].spec if isinstance(env, DummyVecEnv) else None


def _module_of(spec: EnvSpec) -> str:
    """Return the module that makes an environment; importing it imports its package, which registers the id."""
    point = spec.entry_point or spec.vector_entry_point
    return point.partition(":")[0] if isinstance(point, str) else str(getattr(point, "__module__", "__main__"))


def _is_plain(kwargs: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(json.dumps(kwargs)) == kwargs)
    except (TypeError, ValueError):
        return False
