"""The infos of single environments, taken out of those of a vector environment."""

from copy import deepcopy
from typing import Any, NoReturn

import numpy as np

Info = dict[str, Any]


class ReadOnlyInfo(dict[str, Any]):
    """An info that several environments share, and that therefore must not be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "The infos of running episodes share one read-only dict. Replace it instead of changing it: "
            'infos[i] = {**infos[i], "key": value}.'
        )

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[Info]]:
        # copies, deep copies and unpickled infos are plain dicts
        return dict, (dict(self),)


RUNNING_INFO = ReadOnlyInfo({"TimeLimit.truncated": False})
"""the info of every running episode"""


def final_infos(last_observations: np.ndarray, ended: np.ndarray) -> Info:
    """Return the infos of a vector environment that resets ended episodes in the same step, as Gymnasium's are.

    :param last_observations: of the episodes that ended, ``(N, *observation_shape)``
    :param ended: which environments these are, bool ``(n_envs,)``
    """
    final_obs = np.full(len(ended), None, object)
    for env, observation in zip(np.flatnonzero(ended).tolist(), last_observations, strict=True):
        final_obs[env] = observation
    return {"final_obs": final_obs, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}


def info_of(infos: Info, env: int, n_envs: int) -> Info:
    """Return the info of one environment: the inverse of Gymnasium's ``VectorEnv._add_info``.

    :param infos: infos of a vector environment: by key an array ``(n_envs, ...)`` or a dict of such arrays; where
        ``"_" + key`` exists, it tells which environments have the key, bool ``(n_envs,)``
    :param env: the index of the environment
    :param n_envs: the number of environments
    :return: a copy of its values; values that belong to no single environment are left out
    """
    info = {}
    for key, values in infos.items():
        if _is_presence_mask(key, infos) or not _has_value(key, infos, env):
            continue
        if isinstance(values, dict):
            info[key] = info_of(values, env, n_envs)
        elif isinstance(values, np.ndarray) and values.shape[:1] == (n_envs,):
            info[key] = deepcopy(values[env])
    return info


def _is_presence_mask(key: Any, infos: Info) -> bool:
    return isinstance(key, str) and key.startswith("_") and key[1:] in infos


def _has_value(key: Any, infos: Info, env: int) -> bool:
    present = infos.get(f"_{key}")
    return present is None or bool(present[env])
