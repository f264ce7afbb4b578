import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from sb3_a2c_td.envs import LastAction, Positions, TMaze
from sb3_a2c_td.envs.memory import CELL, FORWARD, GOAL, HERE, LEFT, RIGHT, WALL, WAY
from sb3_a2c_td.envs.registration import PARTIALLY_OBSERVED


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*:UserWarning")
@pytest.mark.parametrize("env_id", PARTIALLY_OBSERVED)
def test_the_checkers_have_nothing_against_them(env_id: str) -> None:
    env = gym.make(env_id)
    check_env(env, skip_render_check=True)
    check_env_of_sb3(env)


def sign_of(observation: np.ndarray) -> int:
    return LEFT if observation[0] == 1.0 else RIGHT


def test_the_maze() -> None:
    env = TMaze(length=3)
    signs = []
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        signs.append(sign_of(observation))
        assert observation.sum() == 1.0
        assert env.step(LEFT)[1:3] == (-0.1, False)
        for at_junction in (False, False, True):
            observation, reward, ended, _, _ = env.step(FORWARD)
            assert (reward, ended) == (0.0, False)
            np.testing.assert_array_equal(observation, [0.0, 0.0, at_junction])
        assert env.step(FORWARD)[1:3] == (-0.1, False)
        turn = RIGHT if seed % 2 else LEFT
        _, reward, ended, truncated, _ = env.step(turn)
        assert (reward, ended, truncated) == (1.0 if turn == signs[-1] else -1.0, True, False)
    assert 5 < signs.count(LEFT) < 15


def mean_return(choices: dict[tuple[float, ...], int], length: int) -> float:
    """Give the mean over both signs of what a policy without a memory gets, within 50 steps."""
    returns = {}
    for seed in itertools.count():
        env = TMaze(length)
        observation, _ = env.reset(seed=seed)
        sign = sign_of(observation)
        total, ended, n_steps = 0.0, False, 0
        while not ended and n_steps < 50:
            observation, reward, ended, _, _ = env.step(choices[tuple(observation)])
            total, n_steps = total + reward, n_steps + 1
        returns[sign] = total
        if len(returns) == 2:
            return float(np.mean(list(returns.values())))
    raise AssertionError


def test_without_a_memory_the_best_mean_is_0() -> None:
    """Of all policies that map what is shown to an action.

    One that draws its actions is no better: its chance to turn left at the junction cannot depend on the sign, so the
    turn pays 0 in the mean, and everything else costs.
    """
    shown = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
    policies = itertools.product(range(3), repeat=len(shown))
    means = [mean_return(dict(zip(shown, actions, strict=True)), length=3) for actions in policies]
    assert max(means) == 0.0


def test_an_action_shows_two_steps_later() -> None:
    """In CartPole without its velocities: in the next positions it does not, nor in the reward."""
    steps = []
    for action in range(2):
        env = Positions(gym.make("CartPole-v1"))
        env.reset(seed=0)
        steps.append([env.step(action)[:3], env.step(0)[:3]])
    (first, later), (other_first, other_later) = steps
    np.testing.assert_array_equal(first[0], other_first[0])
    assert first[1:] == other_first[1:]
    assert (later[0] != other_later[0]).all()


def test_its_picture() -> None:
    env = TMaze(length=4, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (3 * CELL, 5 * CELL, 3)
    env.step(FORWARD)
    colours = {tuple(colour) for colour in env.render().reshape(-1, 3)}
    assert colours == {WALL, WAY, GOAL, HERE}
    np.testing.assert_array_equal((env.render() != before).any(axis=2).sum(), 2 * CELL**2)
    assert TMaze().render() is None


def test_the_last_action_is_shown_with_what_followed() -> None:
    env = LastAction(gym.make("CartPole-v1"))
    plain = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    expected, _ = plain.reset(seed=0)
    np.testing.assert_array_equal(observation, [*expected, 0.0, 0.0])
    for action in (1, 0, 0):
        observation, reward, *_ = env.step(np.int64(action))
        expected, expected_reward, *_ = plain.step(action)
        np.testing.assert_array_equal(observation, [*expected, action == 0, action == 1])
        assert reward == expected_reward
        assert env.observation_space.contains(observation)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        TMaze(0)
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
        TMaze(render_mode="human")
    for env_id in ("Pendulum-v1", "FrozenLake-v1"):
        with pytest.raises(ValueError, match="LastAction is for vectors and Discrete actions"):
            LastAction(gym.make(env_id))
    assert isinstance(gym.make("sb3_a2c_td/TMaze-v0", length=2).observation_space, spaces.Box)
