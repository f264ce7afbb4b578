"""The Gymnasium face of a compiled environment equals the same functions in Python."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_a2c_td.compiled import CompiledGymnasiumEnv
from sb3_a2c_td.compiled.classic_control import CARTPOLE
from tests.compiled.environments import ENVS, WALK, uncompiled


@pytest.mark.parametrize("name", ENVS)
def test_episodes_equal_those_in_python(name: str) -> None:
    env = ENVS[name]
    ours, theirs = CompiledGymnasiumEnv(env), uncompiled(env)
    ours.action_space.seed(0)
    np.testing.assert_equal(ours.reset(seed=3), theirs.reset(seed=3))
    n_ended = 0
    for _ in range(100):
        action = ours.action_space.sample()
        found = ours.step(action)
        np.testing.assert_equal(found, theirs.step(action))
        assert [type(value) for value in found[1:]] == [float, bool, bool, dict]
        if found[2] or found[3]:
            n_ended += 1
            np.testing.assert_equal(ours.reset(), theirs.reset())
    assert n_ended > 10


def test_its_generator_is_that_of_the_environment() -> None:
    env = CompiledGymnasiumEnv(WALK)
    env.reset(seed=5)
    assert env.np_random_seed == 5
    before = env.np_random.bit_generator.state
    env.step(1)
    assert env.np_random.bit_generator.state != before


def test_minus_one_means_no_limit() -> None:
    env = CompiledGymnasiumEnv(CARTPOLE, max_episode_steps=-1)
    env.reset(seed=0)
    assert not any(env.step(t % 2)[3] for t in range(600))
    env = CompiledGymnasiumEnv(CARTPOLE, max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_pictures_need_a_function() -> None:
    env = CompiledGymnasiumEnv(CARTPOLE, "rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (400, 600, 3)
    assert CompiledGymnasiumEnv(CARTPOLE).render() is None
    with pytest.raises(TypeError, match=r"render_mode='rgb_array' needs CompiledEnv\(render=...\)"):
        CompiledGymnasiumEnv(WALK, "rgb_array")
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
        CompiledGymnasiumEnv(CARTPOLE, "human")


@pytest.mark.parametrize("action", [3, -1, 0.5, np.array([0])])
def test_invalid_actions_are_rejected(action: Any) -> None:
    env = CompiledGymnasiumEnv(WALK)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must"):
        env.step(action)


def test_a_pickled_environment_continues() -> None:
    env = CompiledGymnasiumEnv(WALK)
    env.reset(seed=0)
    env.step(2)
    twin = pickle.loads(pickle.dumps(env))
    expected = [env.step(1) for _ in range(3)]
    np.testing.assert_equal([twin.step(1) for _ in range(3)], expected)
    assert isinstance(twin, gym.Env)
