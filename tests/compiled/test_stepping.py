"""Compiled code continues the environments of a VecEnv with the kernels, and the VecEnv continues them."""

import numba
import numpy as np

from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.compiled.functions import without_warnings
from sb3_a2c_td.compiled.stepping import reset_all, step_all
from tests.compiled.environments import WALK


@numba.njit(cache=True)
def play(function_list, states, rngs, n_steps, limit, actions, observations, rewards, terminated, truncated):
    """Take all steps of ``actions``, ``(n, n_envs)``, in compiled code."""
    functions = function_list[0]
    next_observations = np.empty_like(observations)
    for step in range(len(actions)):
        step_all(
            functions,
            states,
            rngs,
            n_steps,
            limit,
            actions[step],
            next_observations,
            observations,
            rewards[step],
            terminated,
            truncated,
        )


@numba.njit(cache=True)
def restart(function_list, states, rngs, n_steps, observations):
    reset_all(function_list[0], states, rngs, n_steps, observations)


def test_compiled_code_and_python_take_the_same_steps() -> None:
    ours, theirs = make_compiled_vec_env(WALK, 3, seed=0), make_compiled_vec_env(WALK, 3, seed=0)
    ours.reset()
    theirs.reset()
    actions = np.random.default_rng(0).integers(3, size=(40, 3))
    expected = [theirs.step(action)[:3] for action in actions]
    observations, rewards, flags = np.empty((3, 2), np.float32), np.empty((30, 3)), np.empty((2, 3), bool)
    with without_warnings():
        play(
            ours.function_list,
            ours.states,
            ours.rngs,
            ours.n_steps,
            ours.max_episode_steps,
            actions[:30],
            observations,
            rewards,
            *flags,
        )
    np.testing.assert_array_equal(observations, expected[29][0])
    np.testing.assert_array_equal(rewards.astype(np.float32), [step[1] for step in expected[:30]])
    np.testing.assert_equal([ours.step(action)[:3] for action in actions[30:]], expected[30:])
    with without_warnings():
        restart(ours.function_list, ours.states, ours.rngs, ours.n_steps, observations)
    np.testing.assert_array_equal(observations, theirs.reset())


def test_a_step_is_counted_before_the_limit_is_checked() -> None:
    """As ``TimeLimit`` does: also the last step before the limit that terminates the episode is a truncation."""
    env = make_compiled_vec_env(WALK, 50, seed=0)
    env.reset()
    for step in range(1, 8):
        running = env.n_steps == step - 1
        env.step(np.ones(50, np.int64))
        batch = env._batch
        assert batch.truncated[running].all() == (step == 7)
    assert (batch.truncated & batch.terminated).any()
