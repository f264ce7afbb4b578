"""Environments and comparisons of the tests here."""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_a2c_td.vec_env.autoreset_steps import transition_rows
from tests.environments import RandomEpisodesEnv

IMAGE = spaces.Box(0, 255, (4, 3, 3), np.uint8)
OBSERVATION_SPACES = [
    spaces.Box(-1, 1, (3,), np.float32),
    spaces.Box(-1, 1, (2, 2), np.float64),
    IMAGE,
    spaces.Discrete(5),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(4),
    spaces.Dict({"image": IMAGE, "number": spaces.Discrete(3), "vector": spaces.Box(-1, 1, (2,), np.float32)}),
]
ACTION_SPACES = [
    spaces.Discrete(3),
    spaces.Box(-1, 1, (2,), np.float32),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
]
BUILT_IN = [
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP, copy=False),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP, copy=False),
    lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED),
]
Makers = list[Callable[[], gym.Env]]


def random_envs(observation_space: spaces.Space, action_space: spaces.Space, n_envs: int, p: float = 0.2) -> Makers:
    return [lambda: RandomEpisodesEnv(observation_space, action_space, p)] * n_envs


def monitored(makers: Makers) -> DummyVecEnv:
    return DummyVecEnv([lambda make_env=make_env: Monitor(make_env()) for make_env in makers])


def random_actions(space: spaces.Space, n_steps: int, n_envs: int) -> np.ndarray:
    space = copy.deepcopy(space)
    space.seed(0)
    return np.array([[space.sample() for _ in range(n_envs)] for _ in range(n_steps)])


def assert_equal(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_equal(ours[key], theirs[key])
    else:
        np.testing.assert_array_equal(ours, theirs)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype


def without_time(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "episode": {key: value for key, value in info["episode"].items() if key != "t"}}


def assert_same_traces(ours: VecEnv, theirs: VecEnv, actions: np.ndarray, seed: int = 3) -> int:
    """Step both with the same actions and compare everything; return the number of ended episodes."""
    assert ours.seed(seed) == theirs.seed(seed)
    observations = ours.reset()
    assert_equal(observations, theirs.reset())
    assert ours.reset_infos == theirs.reset_infos
    n_ended = 0
    for action in actions:
        before = copy.deepcopy(observations)
        new_observations, rewards, dones, infos = ours.step(action)
        expected = theirs.step(action)
        assert_equal(observations, before)  # the step must not change what the last one returned
        assert_equal(new_observations, expected[0])
        assert_equal(rewards, expected[1])
        assert_equal(dones, expected[2])
        for done, our_info, their_info in zip(dones, infos, expected[3], strict=True):
            assert our_info["TimeLimit.truncated"] is their_info["TimeLimit.truncated"]
            if done:
                assert_equal(without_time(our_info), without_time(their_info))
                assert isinstance(our_info["episode"]["t"], float)
            else:
                assert our_info == {"TimeLimit.truncated": False}
        assert ours.reset_infos == theirs.reset_infos
        assert transition_rows(ours) is None
        observations = new_observations
        n_ended += int(np.count_nonzero(dones))
    return n_ended
