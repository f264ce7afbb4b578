"""The compiled classic control tasks are Gymnasium's: equal resets, trajectories and ends from the same seeds."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_a2c_td.compiled import CompiledEnv, make_compiled_vec_env
from sb3_a2c_td.compiled.classic_control import ACROBOT, CARTPOLE, MOUNTAIN_CAR, MOUNTAIN_CAR_CONTINUOUS, PENDULUM

TOLERANCE = 1e-6
Act = Callable[[np.ndarray, np.random.Generator], Any]


def push_towards_the_middle(state: np.ndarray, rng: np.random.Generator) -> int:
    """Balance the pole often enough for whole episodes of 500 steps, and now and then not."""
    return int(state[2] + 0.3 * state[3] + rng.normal(scale=0.05) > 0)


def pump_energy(state: np.ndarray, rng: np.random.Generator) -> int:
    """Swing up Acrobot, or the car."""
    return 2 if state[-1] > 0 else 0


def pump_energy_continuously(state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.array([np.sign(state[1]) * rng.uniform(0.5, 1.2)], np.float32)


def random_choice(state: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.integers(2 if len(state) == 4 else 3))


def random_force(state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, 1).astype(np.float32)


def random_push(state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-2.5, 2.5, 1).astype(np.float32)


CASES: list[tuple[str, CompiledEnv, Act]] = [
    ("CartPole-v1", CARTPOLE, push_towards_the_middle),
    ("CartPole-v1", CARTPOLE, random_choice),
    ("Acrobot-v1", ACROBOT, random_choice),
    ("MountainCar-v0", MOUNTAIN_CAR, pump_energy),
    ("MountainCar-v0", MOUNTAIN_CAR, random_choice),
    ("MountainCarContinuous-v0", MOUNTAIN_CAR_CONTINUOUS, pump_energy_continuously),
    ("MountainCarContinuous-v0", MOUNTAIN_CAR_CONTINUOUS, random_force),
    ("Pendulum-v1", PENDULUM, random_push),
]


@pytest.mark.parametrize(("env_id", "env", "act"), CASES)
def test_episodes_equal_gymnasiums(env_id: str, env: CompiledEnv, act: Act) -> None:
    """Whole episodes: the state of the compiled environment is never corrected."""
    ours, theirs = make_compiled_vec_env(env, seed=7), gym.make(env_id)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(ours.reset()[0], theirs.reset(seed=7)[0], rtol=0, atol=TOLERANCE)
    n_steps, n_episodes = 0, 0
    while n_episodes < 4:
        action = act(np.array(theirs.unwrapped.state), rng)
        observations, rewards, dones, infos = ours.step(np.array([action]))
        expected, reward, terminated, truncated, _ = theirs.step(action)
        n_steps += 1
        assert (dones[0], infos[0]["TimeLimit.truncated"]) == (terminated or truncated, truncated and not terminated)
        assert rewards[0] == pytest.approx(reward, abs=TOLERANCE)
        if dones[0]:
            assert infos[0]["episode"]["l"] == n_steps
            np.testing.assert_allclose(infos[0]["terminal_observation"], expected, rtol=0, atol=TOLERANCE)
            n_episodes, n_steps = n_episodes + 1, 0
            expected, _ = theirs.reset()
        np.testing.assert_allclose(observations[0], expected, rtol=0, atol=TOLERANCE)


def test_acrobots_swings_equal_gymnasiums_step_by_step() -> None:
    """Each step begins in Gymnasium's state.

    High swings are chaotic: another machine's sines, which differ in the last digit, would lead to other episodes.
    """
    ours, theirs = make_compiled_vec_env(ACROBOT, seed=7), gym.make("Acrobot-v1")
    ours.reset()
    theirs.reset(seed=7)
    ends = 0
    while ends < 4:
        ours.states[0] = theirs.unwrapped.state
        action = pump_energy(ours.states[0], np.random.default_rng(0))
        observations, rewards, dones, infos = ours.step(np.array([action]))
        expected, reward, terminated, truncated, _ = theirs.step(action)
        assert (dones[0], rewards[0]) == (terminated or truncated, reward)
        last = infos[0]["terminal_observation"] if dones[0] else observations[0]
        np.testing.assert_allclose(last, expected, rtol=0, atol=TOLERANCE)
        if dones[0]:
            assert terminated
            ends += 1
            np.testing.assert_allclose(observations[0], theirs.reset()[0], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("env_id", "env"), list({env_id: env for env_id, env, _ in CASES}.items()))
def test_spaces_limits_and_pictures_are_gymnasiums(env_id: str, env: CompiledEnv) -> None:
    theirs = gym.make(env_id, render_mode="rgb_array")
    assert env.observation_space == theirs.observation_space
    assert env.action_space == theirs.action_space
    assert env.max_episode_steps == theirs.spec.max_episode_steps
    theirs.reset(seed=0)
    np.testing.assert_array_equal(env.render(np.array(theirs.unwrapped.state)), theirs.render())


def test_seeds_are_those_of_make_vec_env() -> None:
    """Copy i begins with the seed plus i, as SB3 has it."""
    observations = make_compiled_vec_env(CARTPOLE, 3, seed=11).reset()
    expected = [gym.make("CartPole-v1").reset(seed=11 + i)[0] for i in range(3)]
    np.testing.assert_array_equal(observations, expected)
