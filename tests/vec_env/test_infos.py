"""Infos of single environments, and the one that running episodes share."""

import copy
import pickle

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps
from tests.environments import CountingEnv, NextStepVectorEnv


def test_the_shared_info_is_read_only() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([CountingEnv] * 3))
    env.reset()
    infos = env.step(np.zeros(3, int))[3]
    for write in (
        lambda info: info.__setitem__("x", 1),
        lambda info: info.update(x=1),
        lambda info: info.setdefault("x", 1),
        lambda info: info.pop("TimeLimit.truncated"),
        lambda info: info.clear(),
        lambda info: info.__ior__({"x": 1}),
        lambda info: info.__delitem__("TimeLimit.truncated"),
    ):
        with pytest.raises(TypeError, match=r"infos\[i\] = "):
            write(infos[0])
    infos[1] = {**infos[1], "x": 1}
    copies = [copy.copy(infos[0]), copy.deepcopy(infos)[0], infos[0].copy(), pickle.loads(pickle.dumps(infos[0]))]
    for copied in copies:
        assert type(copied) is dict
        copied["x"] = 1
    assert infos[2] == env.step(np.zeros(3, int))[3][1] == {"TimeLimit.truncated": False}


def test_plain_arrays_in_infos_are_split_and_other_values_left_out() -> None:
    """Native environments may return them without masks of presence."""

    class Native(NextStepVectorEnv):
        def step(self, actions):
            *rest, _ = super().step(actions)
            infos = {"lives": np.array([3, 4]), "players": {"id": np.array([0, 1])}, "version": 7, "wind": np.zeros(3)}
            return *rest, {**infos, 8: np.array([5, 6])}

    env = GymnasiumVecEnv(Native([lambda: CountingEnv(1)] * 2))
    env.reset()
    with dropping_autoreset_steps(env):
        info = env.step(np.zeros(2, int))[3][1]
    assert info["lives"] == 4
    assert info["players"] == {"id": 1}
    assert info[8] == 6
    assert info.keys().isdisjoint({"version", "wind"})
