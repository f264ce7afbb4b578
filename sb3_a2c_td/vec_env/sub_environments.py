"""Attributes and methods of the single environments in a vector environment of Gymnasium.

``SyncVectorEnv`` has them as objects; ``AsyncVectorEnv`` asks all of its worker processes at once; native vector
environments usually have no single environments.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor

AnyVectorEnv = VectorEnv[Any, Any, Any]


def has_attr(vector_env: AnyVectorEnv, name: str) -> bool:
    """Check whether all single environments have an attribute. That changes nothing in them.

    :param vector_env: the vector environment, without wrappers
    :param name: the attribute
    """
    if isinstance(vector_env, SyncVectorEnv):
        return all(env.has_wrapper_attr(name) for env in vector_env.envs)
    if isinstance(vector_env, AsyncVectorEnv):
        return all(vector_env.call("has_wrapper_attr", name))
    try:
        _require_method(vector_env, "get_attr")(name)
    except AttributeError:
        return False
    return True


def get_attr(vector_env: AnyVectorEnv, name: str, indices: Sequence[int]) -> list[Any]:
    """Return an attribute of single environments.

    :param vector_env: the vector environment, without wrappers
    :param name: the attribute
    :param indices: the environments
    :raises AttributeError: if an environment does not have it, or there are no single environments
    """
    if isinstance(vector_env, SyncVectorEnv):
        return [vector_env.envs[i].get_wrapper_attr(name) for i in indices]
    get_from_all = _require_method(vector_env, "get_attr")
    _require_attr(vector_env, name)
    values = get_from_all(name)
    return [values[i] for i in indices]


def set_attr(vector_env: AnyVectorEnv, name: str, value: Any, indices: Sequence[int]) -> None:
    """Set an attribute of single environments, in the wrapper that has it if one does.

    :param vector_env: the vector environment, without wrappers
    :param name: the attribute
    :param value: its new value
    :param indices: the environments
    :raises AttributeError: if there are no single environments
    :raises NotImplementedError: if it can only be set in all environments
    """
    if isinstance(vector_env, SyncVectorEnv):
        for i in indices:
            vector_env.envs[i].set_wrapper_attr(name, value)
        return
    set_all = _require_method(vector_env, "set_attr")
    _require_all(vector_env, "set_attr", indices)
    set_all(name, [value] * vector_env.num_envs)


def call_method(
    vector_env: AnyVectorEnv, name: str, indices: Sequence[int], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """Call a method of single environments.

    :param vector_env: the vector environment, without wrappers
    :param name: the method
    :param indices: the environments
    :param args: positional arguments
    :param kwargs: keyword arguments
    :return: what each returned
    :raises AttributeError: if an environment does not have it, or there are no single environments
    :raises NotImplementedError: if it can only be called in all environments
    """
    if isinstance(vector_env, SyncVectorEnv):
        return [vector_env.envs[i].get_wrapper_attr(name)(*args, **kwargs) for i in indices]
    call_all = _require_method(vector_env, "call")
    _require_all(vector_env, "env_method", indices)
    _require_attr(vector_env, name)
    results = call_all(name, *args, **kwargs)
    return [results[i] for i in indices]


def are_wrapped(
    vector_env: AnyVectorEnv, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Sequence[int]
) -> list[bool]:
    """Check which single environments are wrapped in a class.

    :param vector_env: the vector environment, without wrappers
    :param wrapper_class: the class
    :param indices: the environments
    :raises NotImplementedError: if they are in other processes
    """
    if isinstance(vector_env, SyncVectorEnv):
        return [is_wrapped(vector_env.envs[i], wrapper_class) for i in indices]
    if isinstance(vector_env, AsyncVectorEnv):
        raise NotImplementedError(f"env_is_wrapped: the environments of {vector_env} are in other processes")
    return [False for _ in indices]


def have_monitors(vector_env: AnyVectorEnv) -> bool:
    """Check whether each single environment is in a ``Monitor``, as far as this process can tell."""
    return isinstance(vector_env, SyncVectorEnv) and all(are_wrapped(vector_env, Monitor, range(vector_env.num_envs)))


def _require_method(vector_env: AnyVectorEnv, name: str) -> Any:
    method = getattr(vector_env, name, None)
    if method is None:
        raise AttributeError(
            f"{vector_env} has no {name}(), since it computes all environments at once: make the environments with "
            'gymnasium.make_vec(..., vectorization_mode="sync" or "async")'
        )
    return method


def _require_attr(vector_env: AnyVectorEnv, name: str) -> None:
    # a worker that is asked for a missing attribute ends
    if isinstance(vector_env, AsyncVectorEnv) and not has_attr(vector_env, name):
        raise AttributeError(f"the environments of {vector_env} have no attribute {name!r}")


def _require_all(vector_env: AnyVectorEnv, name: str, indices: Sequence[int]) -> None:
    if sorted(indices) != list(range(vector_env.num_envs)):
        raise NotImplementedError(
            f"{name}: {vector_env} reaches all environments at once, got indices={list(indices)}. Leave the indices "
            'out, or use vectorization_mode="sync".'
        )
