import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from sb3_a2c_td.envs import LastAction, Positions, TMaze
from sb3_a2c_td.envs.partially_observed import (
    AGENT_COLOR,
    CELL_SIZE,
    CORRIDOR_COLOR,
    FORWARD,
    GOAL_COLOR,
    LEFT,
    RIGHT,
    WALL_COLOR,
)
from sb3_a2c_td.registration import PARTIALLY_OBSERVED


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*:UserWarning")
@pytest.mark.parametrize("env_id", PARTIALLY_OBSERVED)
def test_environments_pass_both_checkers(env_id: str) -> None:
    env = gym.make(env_id)
    check_env(env, skip_render_check=True)
    sb3_check_env(env)


def sign_of(observation: np.ndarray) -> int:
    return LEFT if observation[0] == 1.0 else RIGHT


def test_tmaze_rewards_the_turn_of_the_sign() -> None:
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


def mean_return(policy: dict[tuple[float, ...], int], length: int) -> float:
    """Return the mean over both signs of the return of a policy without recurrent state, within 50 steps."""
    returns = {}
    for seed in itertools.count():
        env = TMaze(length)
        observation, _ = env.reset(seed=seed)
        sign = sign_of(observation)
        total, ended, n_steps = 0.0, False, 0
        while not ended and n_steps < 50:
            observation, reward, ended, _, _ = env.step(policy[tuple(observation)])
            total, n_steps = total + reward, n_steps + 1
        returns[sign] = total
        if len(returns) == 2:
            return float(np.mean(list(returns.values())))
    raise AssertionError


def test_best_mean_return_without_recurrent_state_is_0() -> None:
    """Checked for all deterministic policies of the observation.

    Stochastic ones are no better: their probability of turning left at the junction cannot depend on the sign, so the
    mean reward of the turn is 0, and every other action costs at least as much.
    """
    observations = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
    policies = itertools.product(range(3), repeat=len(observations))
    means = [mean_return(dict(zip(observations, actions, strict=True)), length=3) for actions in policies]
    assert max(means) == 0.0


def test_action_is_visible_two_steps_later() -> None:
    """In CartPole without velocities, neither the next positions nor the reward depend on the action."""
    steps = []
    for action in range(2):
        env = Positions(gym.make("CartPole-v1"))
        env.reset(seed=0)
        steps.append([env.step(action)[:3], env.step(0)[:3]])
    (first, later), (other_first, other_later) = steps
    np.testing.assert_array_equal(first[0], other_first[0])
    assert first[1:] == other_first[1:]
    assert (later[0] != other_later[0]).all()


def test_picture_shows_goal_and_agent() -> None:
    env = TMaze(length=4, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (3 * CELL_SIZE, 5 * CELL_SIZE, 3)
    env.step(FORWARD)
    colors = {tuple(color) for color in env.render().reshape(-1, 3)}
    assert colors == {WALL_COLOR, CORRIDOR_COLOR, GOAL_COLOR, AGENT_COLOR}
    np.testing.assert_array_equal((env.render() != before).any(axis=2).sum(), 2 * CELL_SIZE**2)
    assert TMaze().render() is None


def test_last_action_is_appended_to_the_next_observation() -> None:
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


def test_unsupported_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        TMaze(0)
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
        TMaze(render_mode="human")
    for env_id in ("Pendulum-v1", "FrozenLake-v1"):
        with pytest.raises(ValueError, match="LastAction needs vector observations and Discrete actions"):
            LastAction(gym.make(env_id))


def test_arguments_of_make_reach_the_maze() -> None:
    assert gym.make("sb3_a2c_td/TMaze-v0", length=2).unwrapped.length == 2
