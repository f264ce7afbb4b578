"""The native vector environment equals Gymnasium's ``SyncVectorEnv`` of the same functions in Python."""

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from sb3_a2c_td.compiled import CompiledGymnasiumEnv, CompiledVecEnv, CompiledVectorEnv
from sb3_a2c_td.compiled.classic_control import CARTPOLE
from tests.compiled.environments import ENVS, WALK, uncompiled
from tests.envs.test_tabular import assert_equal
from tests.vec_env.traces import assert_same_traces, monitored, random_actions


@pytest.mark.parametrize("name", ENVS)
def test_trace_equals_sync_vector_env(name: str) -> None:
    """With the infos of the end of an episode."""
    env = ENVS[name]
    ours = CompiledVectorEnv(env, 3)
    theirs = SyncVectorEnv([lambda: uncompiled(env)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    assert_equal(ours.reset(seed=2), theirs.reset(seed=2))
    assert_equal(ours.reset(seed=[5, None, 3]), theirs.reset(seed=[5, None, 3]))
    n_ended = 0
    for action in random_actions(env.action_space, 60, 3):
        found = ours.step(action)
        assert_equal(found, theirs.step(action))
        n_ended += "final_obs" in found[4]
    assert n_ended > 10
    theirs.close()


def test_the_adapter_makes_it_dummy_vec_env() -> None:
    ours, theirs = GymnasiumVecEnv(CompiledVectorEnv(WALK, 1)), monitored([lambda: uncompiled(WALK)])
    assert assert_same_traces(ours, theirs, random_actions(WALK.action_space, 60, 1)) > 5


def test_returned_arrays_are_not_overwritten() -> None:
    env = CompiledVectorEnv(WALK, 3)
    kept = [env.reset(seed=0)[0], *env.step(np.zeros(3, np.int64))[:4]]
    copies = [array.copy() for array in kept]
    for _ in range(10):
        env.step(np.full(3, 2))
    np.testing.assert_equal(kept, copies)


@pytest.mark.parametrize("make", [lambda: CompiledVectorEnv(WALK, 2), lambda: CompiledGymnasiumEnv(WALK)])
def test_options_are_refused(make: Any) -> None:
    make().reset(options={})
    with pytest.raises(ValueError, match="compiled environments take no options of reset"):
        make().reset(options={"low": 1.0})


def test_options_of_the_vec_env_are_refused() -> None:
    env = CompiledVecEnv(WALK, 2)
    env.set_options({"low": 1.0})
    with pytest.raises(ValueError, match="compiled environments take no options of reset"):
        env.reset()


def test_a_step_needs_a_reset() -> None:
    with pytest.raises(ResetNeeded):
        CompiledVectorEnv(WALK, 2).step(np.zeros(2, np.int64))
    with pytest.raises(ResetNeeded):
        CompiledGymnasiumEnv(WALK).step(0)


def test_a_training_may_reset_the_environments() -> None:
    env = CompiledVectorEnv(CARTPOLE, 2)
    TDA2C("MlpPolicy", env, device="cpu").learn(20)
    assert env.step(np.zeros(2, np.int64))[0].shape == (2, 4)


def test_each_copy_has_a_picture() -> None:
    env = CompiledVectorEnv(CARTPOLE, 2, render_mode="rgb_array")
    env.reset(seed=0)
    one, other = env.render()
    assert one.shape == (400, 600, 3)
    assert (one != other).any()
    assert CompiledVectorEnv(CARTPOLE, 2).render() is None


def test_tda2c_learns_on_it() -> None:
    assert TDA2C("MlpPolicy", CompiledVectorEnv(WALK, 4), device="cpu").learn(100).num_timesteps == 100


def test_seeds_may_be_numbers_of_numpy_and_actions_lists() -> None:
    ours, theirs = CompiledVectorEnv(WALK, 2), CompiledVectorEnv(WALK, 2)
    assert_equal(ours.reset(seed=np.int64(3)), theirs.reset(seed=3))
    assert_equal(ours.step([2, 0]), theirs.step(np.array([2, 0])))
