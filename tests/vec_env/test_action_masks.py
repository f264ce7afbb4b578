"""Where ``GymnasiumVecEnv`` finds masks of actions, and how it answers whether there are any."""

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.action_masks import action_masks, check_masks_available
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps
from tests.environments import CountingEnv, NextStepVectorEnv

VECTOR_ENVS = [SyncVectorEnv, AsyncVectorEnv, NextStepVectorEnv]


class MethodEnv(CountingEnv):
    """Has masks by a method. Observations show the number of resets."""

    def action_masks(self) -> np.ndarray:
        return np.array([True, self.t % 2 == 0])


class InfosEnv(CountingEnv):
    """Has masks in infos."""

    def reset(self, **kwargs: Any):
        observation, info = super().reset(**kwargs)
        return observation, {**info, "action_mask": np.array([True, True])}

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "action_mask": np.array([True, self.t % 2 == 0])}


def make(vector_env: Callable[..., VectorEnv], kind: type[CountingEnv]) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(vector_env([lambda: kind(length=4)] * 2))


def trace(env: GymnasiumVecEnv, ask: Callable[[], object] = lambda: None) -> list[Any]:
    """Reset and step, and ask something before each; return all observations and rewards."""
    ask()
    found = [env.reset()]
    with dropping_autoreset_steps(env):
        for _ in range(10):
            ask()
            found += env.step(np.zeros(2, np.int64))[:2]
    ask()
    return found


@pytest.mark.parametrize("kind", [MethodEnv, InfosEnv, CountingEnv])
@pytest.mark.parametrize("vector_env", VECTOR_ENVS)
def test_has_attr_changes_nothing(vector_env: Callable[..., VectorEnv], kind: type[CountingEnv]) -> None:
    """It neither resets environments nor ends worker processes."""
    asked, other = make(vector_env, kind), make(vector_env, kind)
    names = ("action_masks", "length", "nothing")
    found = trace(asked, lambda: [asked.has_attr(name) for name in names])
    np.testing.assert_equal(found, trace(other))
    # the third episode; native environments took an autoreset step after each end
    assert found[-2][0].tolist() == ([2, 0] if vector_env is NextStepVectorEnv else [2, 2])
    asked.close()
    other.close()


def test_has_attr_keeps_the_seeds_of_the_next_reset() -> None:
    env = make(SyncVectorEnv, InfosEnv)
    env.seed(3)
    env.has_attr("action_masks")
    env.reset()
    assert env.get_attr("np_random_seed") == [3, 4]


def test_has_attr_builds_no_environment() -> None:
    """The masks of environments in worker processes are found there."""
    made: list[int] = []

    def make_env() -> gym.Env:
        made.append(os.getpid())
        return MethodEnv()

    env = GymnasiumVecEnv(AsyncVectorEnv([make_env] * 2))
    n_made = len(made)
    assert env.has_attr("action_masks")
    assert len(made) == n_made
    env.close()


@pytest.mark.parametrize(
    ("kind", "before_reset", "after_reset"),
    [(MethodEnv, True, True), (InfosEnv, False, True), (CountingEnv, False, False)],
)
@pytest.mark.parametrize("vector_env", [SyncVectorEnv, AsyncVectorEnv])
def test_has_attr_tells_whether_there_are_masks(
    vector_env: Callable[..., VectorEnv], kind: type[CountingEnv], before_reset: bool, after_reset: bool
) -> None:
    """Infos are known from the first reset on."""
    env = make(vector_env, kind)
    assert env.has_attr("action_masks") == before_reset
    env.reset()
    for _ in range(6):
        assert env.has_attr("action_masks") == after_reset
        if after_reset:
            assert np.shape(env.env_method("action_masks")) == (2, 2)
            check_masks_available(env)
        else:
            with pytest.raises(AttributeError, match=r"neither a method action_masks\(\) nor infos\['action_mask'\]"):
                env.env_method("action_masks")
            with pytest.raises(ValueError, match=r"env=GymnasiumVecEnv provides no masks of actions.*use TDA2C"):
                check_masks_available(env)
        env.step(np.zeros(2, np.int64))
    env.close()


def test_has_attr_needs_masks_of_all_environments() -> None:
    assert not GymnasiumVecEnv(SyncVectorEnv([MethodEnv, CountingEnv])).has_attr("action_masks")


def test_masks_of_sb3_environments_are_stacked() -> None:
    env = DummyVecEnv([MethodEnv, MethodEnv])
    env.reset()
    env.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(action_masks(env, step=2), [[True, False]] * 2)
