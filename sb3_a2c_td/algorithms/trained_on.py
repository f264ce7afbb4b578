"""What a saved model records about its environment, so that others can make it again."""

import json
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize, VecTransposeImage

from sb3_a2c_td.compiled.making import ENVS
from sb3_a2c_td.compiled.vec_env import CompiledVecEnv
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv

WITHOUT_RECORD = (VecMonitor, VecNormalize, VecTransposeImage)
"""wrappers that need no record: the model holds the statistics of the second, SB3 adds the third itself"""
MONITOR = "Monitor"
OF_COPIES = ("render_mode", "num_envs", "vectorization_mode", "vector_kwargs")
"""arguments that say how many copies there are and how they are shown; ``gymnasium.make_vec`` records them"""


def recorded_env(env: VecEnv) -> dict[str, Any] | None:
    """Return the id and the arguments with which Gymnasium makes an environment.

    :param env: the environment of a model
    :return: ``{"id": ..., "kwargs": ...}``; ``None`` if Gymnasium did not make it, if wrappers change it, or if the
        arguments are more than numbers, text and lists
    """
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, WITHOUT_RECORD):
            return None
        env = env.venv
    if isinstance(env, CompiledVecEnv):
        return next(({"id": name, "kwargs": {}} for name, each in ENVS.items() if each is env.compiled_env), None)
    if isinstance(env, GymnasiumVecEnv):
        is_changed = isinstance(env.env, gym.vector.VectorWrapper)
        spec = None if is_changed else env.env.spec
    else:
        spec = env.get_attr("spec")[0] if env.has_attr("spec") else None
    if spec is None or any(wrapper.name != MONITOR for wrapper in spec.additional_wrappers):
        return None
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in OF_COPIES}
    return {"id": spec.id, "kwargs": kwargs} if _is_plain(kwargs) else None


def _is_plain(kwargs: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(json.dumps(kwargs)) == kwargs)
    except (TypeError, ValueError):
        return False
