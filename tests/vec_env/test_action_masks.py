"""Where ``GymnasiumVecEnv`` finds masks of actions, and how it answers whether there are any."""

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.vec_env.action_masks import action_masks, check_masks_available
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps
from tests.environments import MaskedEnv, MaskedInfosEnv, NextStepVectorEnv, RandomEnv

ACTION_SPACE = spaces.Discrete(5)
VECTOR_ENVS = [SyncVectorEnv, AsyncVectorEnv, NextStepVectorEnv]


def make(vector_env: Callable[..., VectorEnv], kind: Callable[..., gym.Env]) -> GymnasiumVecEnv:
    kwargs = {} if kind is RandomEnv else {"takes_all": True}
    makers = [lambda: kind(spaces.Box(-1, 1, (3,), np.float32), ACTION_SPACE, episode_length=4, **kwargs)] * 2
    return GymnasiumVecEnv(vector_env(makers))


def trace(env: GymnasiumVecEnv, ask: Callable[[], object] = lambda: None) -> list[Any]:
    """Reset and step, and ask something before each; return all observations and rewards."""
    env.seed(3)
    ask()
    found = [env.reset()]
    with dropping_autoreset_steps(env):
        for _ in range(10):
            ask()
            found += env.step(np.zeros(2, np.int64))[:2]
    ask()
    return found


@pytest.mark.parametrize("kind", [MaskedEnv, MaskedInfosEnv, RandomEnv])
@pytest.mark.parametrize("vector_env", VECTOR_ENVS)
def test_has_attr_changes_nothing(vector_env: Callable[..., VectorEnv], kind: Callable[..., gym.Env]) -> None:
    """Neither seeds, which a reset would use up, nor running episodes, nor worker processes."""
    asked, other = make(vector_env, kind), make(vector_env, kind)
    names = ("action_masks", "episode_length", "nothing")
    np.testing.assert_equal(trace(asked, lambda: [asked.has_attr(name) for name in names]), trace(other))
    asked.close()
    other.close()


def test_has_attr_builds_no_environment() -> None:
    """The masks of environments in worker processes are found there."""
    made: list[int] = []

    def make_env() -> gym.Env:
        made.append(os.getpid())
        return MaskedEnv(spaces.Box(-1, 1, (3,), np.float32), ACTION_SPACE)

    env = GymnasiumVecEnv(AsyncVectorEnv([make_env] * 2))
    n_made = len(made)
    assert env.has_attr("action_masks")
    assert len(made) == n_made
    env.close()


@pytest.mark.parametrize(
    ("kind", "before_reset", "after_reset"),
    [(MaskedEnv, True, True), (MaskedInfosEnv, False, True), (RandomEnv, False, False)],
)
@pytest.mark.parametrize("vector_env", [SyncVectorEnv, AsyncVectorEnv])
def test_has_attr_tells_whether_there_are_masks(
    vector_env: Callable[..., VectorEnv], kind: Callable[..., gym.Env], before_reset: bool, after_reset: bool
) -> None:
    """Infos are known from the first reset on."""
    env = make(vector_env, kind)
    assert env.has_attr("action_masks") == before_reset
    env.reset()
    for _ in range(6):
        assert env.has_attr("action_masks") == after_reset
        if after_reset:
            assert np.shape(env.env_method("action_masks")) == (2, 5)
            check_masks_available(env)
        else:
            with pytest.raises(AttributeError, match=r"neither a method action_masks\(\) nor infos\['action_mask'\]"):
                env.env_method("action_masks")
            with pytest.raises(ValueError, match=r"env=GymnasiumVecEnv provides no masks of actions.*use TDA2C"):
                check_masks_available(env)
        env.step(np.zeros(2, np.int64))
    env.close()


def test_has_attr_needs_masks_of_all_environments() -> None:
    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    makers = [lambda: MaskedEnv(observation_space, ACTION_SPACE), lambda: RandomEnv(observation_space, ACTION_SPACE)]
    assert not GymnasiumVecEnv(SyncVectorEnv(makers)).has_attr("action_masks")


def test_masks_of_sb3_environments_are_stacked() -> None:
    env = DummyVecEnv([lambda: MaskedEnv(spaces.Box(-1, 1, (3,), np.float32), ACTION_SPACE)] * 2)
    env.reset()
    np.testing.assert_array_equal(action_masks(env, step=0), [sub_env.masks for sub_env in env.envs])
