"""Autoreset steps of native vector environments: marked, dropped, and refused to callers that do not drop them."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv, VecFrameStack, VecMonitor, VecNormalize

from sb3_a2c_td import GymnasiumVecEnv
from sb3_a2c_td.rollout.observations import select_rows
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps, transition_rows
from tests.environments import CountingEnv, NextStepVectorEnv
from tests.vec_env.traces import (
    ACTION_SPACES,
    OBSERVATION_SPACES,
    assert_equal,
    monitored,
    random_actions,
    random_envs,
    without_time,
)


@settings(max_examples=25)
@given(
    observation_space=st.sampled_from(OBSERVATION_SPACES),
    action_space=st.sampled_from(ACTION_SPACES),
    n_envs=st.integers(1, 4),
    end_probability=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_trace_without_autoreset_steps_equals_dummy_vec_env(
    observation_space, action_space, n_envs, end_probability, seed
) -> None:
    """For each environment's transitions in order. Autoreset steps use up none of the recorded actions."""
    makers = random_envs(observation_space, action_space, n_envs, end_probability)
    actions = random_actions(action_space, 25, n_envs)
    theirs = monitored(makers)
    theirs.seed(seed)
    observations = theirs.reset()
    expected: list[list[Any]] = [[] for _ in range(n_envs)]
    for action in actions:
        new_observations, rewards, dones, infos = theirs.step(action)
        for i, info in enumerate(infos):
            last = info.get("terminal_observation", select_rows(new_observations, i))
            facts = without_time(info) if dones[i] else {"TimeLimit.truncated": False}
            expected[i].append((select_rows(observations, i), rewards[i], last, dones[i], facts))
        observations = new_observations

    ours = GymnasiumVecEnv(NextStepVectorEnv(makers))
    assert ours.has_autoreset_steps
    found: list[list[Any]] = [[] for _ in range(n_envs)]
    ours.seed(seed)
    observations = ours.reset()
    assert ours.reset_infos == [{"n_resets": 1}] * n_envs
    ended = np.zeros(n_envs, dtype=bool)
    with dropping_autoreset_steps(ours):
        for _ in range(25):
            action = np.array([actions[len(found[i])][i] for i in range(n_envs)])
            new_observations, rewards, dones, infos = ours.step(action)
            np.testing.assert_array_equal(ours.autoreset_rows, ended)
            rows = transition_rows(ours)
            assert (rows is None) == (not ended.any())
            np.testing.assert_array_equal(np.arange(n_envs) if rows is None else rows, np.flatnonzero(~ended))
            for i in np.flatnonzero(~ours.autoreset_rows):
                # where an episode ended, the observation itself is the last one
                if dones[i]:
                    assert_equal(infos[i]["terminal_observation"], select_rows(new_observations, i))
                    infos[i] = without_time(infos[i])
                found[i].append(
                    (select_rows(observations, i), rewards[i], select_rows(new_observations, i), dones[i], infos[i])
                )
            observations, ended = new_observations, dones
    for ours_of_env, theirs_of_env in zip(found, expected, strict=True):
        assert len(ours_of_env) >= 12
        for ours_of_step, theirs_of_step in zip(ours_of_env, theirs_of_env, strict=False):
            for our_value, their_value in zip(ours_of_step, theirs_of_step, strict=True):
                assert_equal(our_value, their_value)
    assert ours.reset_infos == [{"n_resets": ours.env._hidden[i].n_resets} for i in range(n_envs)]


def test_native_cartpole_follows_the_dynamics_of_cartpole() -> None:
    """Gymnasium's own native environment obeys the dynamics of the single one, but for autoreset steps."""
    vec_env = GymnasiumVecEnv(gym.make_vec("CartPole-v1", 8))
    single = gym.make("CartPole-v1").unwrapped
    vec_env.seed(0)
    observations = vec_env.reset()
    actions = random_actions(single.action_space, 120, 8)
    returns, n_autoreset_steps, n_ended = np.zeros(8), 0, 0
    with dropping_autoreset_steps(vec_env):
        for action in actions:
            new_observations, rewards, dones, infos = vec_env.step(action)
            returns[~vec_env.autoreset_rows] += 1
            for i in range(8):
                if vec_env.autoreset_rows[i]:
                    assert rewards[i] == 0
                    assert np.abs(new_observations[i]).max() <= 0.05
                    continue
                single.reset()
                single.state = observations[i].astype(np.float64)
                expected, _, terminated, *_ = single.step(action[i])
                np.testing.assert_allclose(new_observations[i], expected, rtol=0, atol=1e-6)
                assert dones[i] == terminated
                if dones[i]:
                    assert infos[i]["episode"]["r"] == infos[i]["episode"]["l"] == returns[i]
                    returns[i] = 0
            n_autoreset_steps += np.count_nonzero(vec_env.autoreset_rows)
            n_ended += np.count_nonzero(dones)
            observations = new_observations
    assert 20 < n_autoreset_steps <= n_ended


def test_rewards_of_wrappers_for_autoreset_steps_are_not_counted() -> None:
    env = GymnasiumVecEnv(vector_wrappers.TransformReward(NextStepVectorEnv([lambda: CountingEnv(3)]), lambda r: r + 1))
    env.reset()
    with dropping_autoreset_steps(env):
        steps = [env.step(np.zeros(1, int)) for _ in range(11)]
    assert [float(rewards[0]) for _, rewards, _, _ in steps] == [2, 2, 2, 0] * 2 + [2, 2, 2]
    infos = [infos[0] for _, _, _, infos in steps]
    assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info] == [(6, 3)] * 3


def test_after_a_reset_no_step_is_an_autoreset_step() -> None:
    env = GymnasiumVecEnv(NextStepVectorEnv([lambda: CountingEnv(1)]))
    env.reset()
    with dropping_autoreset_steps(env):
        env.step(np.zeros(1, int)), env.step(np.zeros(1, int))
        assert transition_rows(env).tolist() == []
        env.reset()
        assert transition_rows(env) is None


# Who may take autoreset steps


@pytest.mark.parametrize("kind", [A2C, PPO, DQN])
def test_sb3_algorithms_are_refused(kind: type) -> None:
    model = kind("MlpPolicy", GymnasiumVecEnv(CartPoleVectorEnv(2)), device="cpu")
    with pytest.raises(RuntimeError, match=r'CartPoleVectorEnv.*ignores the action.*TDA2C.*vectorization_mode="sync"'):
        model.learn(10)
    with pytest.raises(RuntimeError, match="ignores the action"):
        evaluate_policy(model, model.get_env())


def test_vec_normalize_of_rewards_is_refused() -> None:
    """The zeros would bias its statistics."""
    env = GymnasiumVecEnv(CartPoleVectorEnv(2))
    with pytest.raises(ValueError, match=r"norm_reward=False"), dropping_autoreset_steps(VecNormalize(env)):
        pass
    for valid in (VecNormalize(env, norm_reward=False), VecNormalize(env, training=False)):
        with dropping_autoreset_steps(valid):
            assert env.autoreset_steps_are_dropped


def test_custom_wrappers_are_refused() -> None:
    class Mine(VecNormalize):
        pass

    env = Mine(GymnasiumVecEnv(CartPoleVectorEnv(2)), norm_reward=False)
    with pytest.raises(ValueError, match="Mine may count"), dropping_autoreset_steps(env):
        pass


@pytest.mark.parametrize("wrap", [VecFrameStack, VecMonitor])
@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_wrappers_that_combine_or_count_steps_are_refused(wrap: Callable[..., VecEnv]) -> None:
    wrapped = wrap(GymnasiumVecEnv(CartPoleVectorEnv(2)), *([2] if wrap is VecFrameStack else []))
    env = VecNormalize(wrapped, norm_reward=False)
    message = rf"{wrap.__name__} may count.*VecNormalize, VecCheckNan, VecTransposeImage.*sync"
    with pytest.raises(ValueError, match=message), dropping_autoreset_steps(env):
        pass
    with pytest.raises(RuntimeError, match="ignores the action"):
        env.reset(), env.step(np.zeros(2, int))


def test_autoreset_steps_are_refused_again_after_the_context() -> None:
    env = VecCheckNan(VecNormalize(GymnasiumVecEnv(CartPoleVectorEnv(2)), norm_reward=False))
    env.reset()
    with dropping_autoreset_steps(env):
        with dropping_autoreset_steps(env):
            env.step(np.zeros(2, int))
        env.step(np.zeros(2, int))
    with pytest.raises(KeyError), dropping_autoreset_steps(env):
        raise KeyError
    with pytest.raises(RuntimeError):
        env.step(np.zeros(2, int))


def test_environments_without_autoreset_steps_return_transitions_only() -> None:
    for env in (DummyVecEnv([CountingEnv]), VecFrameStack(GymnasiumVecEnv(SyncVectorEnv([CountingEnv])), 2), None):
        with dropping_autoreset_steps(env):
            assert transition_rows(env) is None
