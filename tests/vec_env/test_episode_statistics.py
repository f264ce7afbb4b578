"""Statistics of episodes in infos."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import GymnasiumVecEnv
from tests.environments import CountingEnv
from tests.vec_env.traces import assert_same_traces, monitored


def test_a_time_limit_truncates_and_is_counted() -> None:
    makers = [lambda: TimeLimit(CountingEnv(length=5), 3)] * 2
    ours = GymnasiumVecEnv(SyncVectorEnv(makers))
    ours.reset()
    infos = [ours.step(np.zeros(2, int))[3] for _ in range(3)][-1]
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["episode"]["r"] == infos[0]["episode"]["l"] == 3
    assert infos[0]["terminal_observation"].tolist() == [0, 3]


def test_returns_are_rounded_as_by_monitor() -> None:
    class Third(CountingEnv):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, 1 / 3 + 1e7, *rest

    makers = [lambda: Third(7)]
    actions = np.zeros((30, 1), int)
    assert assert_same_traces(GymnasiumVecEnv(SyncVectorEnv(makers)), monitored(makers), actions) == 4


def test_monitors_of_single_environments_tell_when_episodes_end() -> None:
    """A wrapper may end episodes earlier, as SB3's EpisodicLifeEnv does for Atari."""

    class Lives(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated or self.env.unwrapped.t % 3 == 0, truncated, info

        def reset(self, **kwargs):
            if self.env.unwrapped.t in (0, 8):
                return self.env.reset(**kwargs)
            return self.env.unwrapped._observation(), {}

    makers = [lambda: Lives(Monitor(CountingEnv(8)))] * 2
    theirs = DummyVecEnv(makers)
    ours = GymnasiumVecEnv(SyncVectorEnv(makers))
    ours.reset()
    theirs.reset()
    for _ in range(20):
        _, _, dones, infos = ours.step(np.zeros(2, int))
        for done, our_info, their_info in zip(dones, infos, theirs.step(np.zeros(2, int))[3], strict=True):
            assert ("episode" in our_info) == (bool(done) and "episode" in their_info)
            if "episode" in our_info:
                assert our_info["episode"]["r"] == their_info["episode"]["r"] == 8


def test_statistics_replace_those_of_the_environment() -> None:
    class WithStatistics(CountingEnv):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {"episode": {"r": -1.0}}

    env = GymnasiumVecEnv(SyncVectorEnv([lambda: WithStatistics(1)]))
    env.reset()
    assert env.step(np.zeros(1, int))[3][0]["episode"]["r"] == 1.0


def test_a_reset_starts_new_episodes() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([lambda: CountingEnv(3)]))
    for _ in range(2):
        env.reset()
        infos = [env.step(np.zeros(1, int))[3][0] for _ in range(5)]
        assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info] == [(3, 3)]
