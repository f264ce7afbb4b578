"""Attributes and methods of the single environments."""

from collections.abc import Callable
from typing import Any

import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor

from sb3_a2c_td import GymnasiumVecEnv
from tests.environments import CountingEnv


@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_attributes_and_methods_of_single_environments(make: Callable[..., Any]) -> None:
    env = GymnasiumVecEnv(make([lambda: CountingEnv(5), lambda: CountingEnv(6), lambda: CountingEnv(7)]))
    try:
        env.reset()
        assert env.get_attr("length") == [5, 6, 7]
        assert env.get_attr("length", [2, 0]) == [7, 5]
        assert env.get_attr("length", 1) == [6]
        assert env.render_mode is None
        env.set_attr("length", 9)
        assert env.get_attr("length") == [9, 9, 9]
        assert [value.tolist() for value in env.env_method("_observation")] == [[0, 0]] * 3
        env.set_attr("length", [1, 2])
        assert env.get_attr("length") == [[1, 2]] * 3
        assert env.env_is_wrapped(Monitor) == [True] * 3
        if make is SyncVectorEnv:
            env.set_attr("length", 4, indices=[1])
            assert env.get_attr("length", [0, 1]) == [[1, 2], 4]
            assert [value.tolist() for value in env.env_method("_observation", indices=2)] == [[0, 0]]
            assert callable(env.get_attr("_observation")[0])
            assert env.env_is_wrapped(TimeLimit, indices=[0, 1]) == [False, False]
        else:
            for call in (lambda: env.set_attr("length", 4, 1), lambda: env.env_method("_observation", indices=[0])):
                with pytest.raises(NotImplementedError, match="reaches all environments at once"):
                    call()
            with pytest.raises(NotImplementedError, match="other processes"):
                env.env_is_wrapped(TimeLimit)
        assert env.has_attr("length")
        assert not env.has_attr("nothing")
        for call in (lambda: env.get_attr("nothing"), lambda: env.env_method("nothing")):
            with pytest.raises(AttributeError, match="no attribute 'nothing'"):
                call()
        # of an AsyncVectorEnv, no worker process ended
        assert env.get_attr("length", 0) == [[1, 2]]
    finally:
        env.close()


def test_native_environments_have_no_single_environments() -> None:
    env = GymnasiumVecEnv(CartPoleVectorEnv(2))
    for call in (lambda: env.get_attr("gravity"), lambda: env.set_attr("gravity", 1), lambda: env.env_method("x")):
        with pytest.raises(AttributeError, match=r'CartPoleVectorEnv.*has no.*vectorization_mode="sync"'):
            call()
    assert not env.has_attr("gravity")
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(TimeLimit) == [False, False]
    env.close()
