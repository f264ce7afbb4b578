"""An environment of one's own: check it, give it a time limit, train on it."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from sb3_a2c_td import TDA2C

LEFT, RIGHT = 0, 1


class Corridor(gym.Env[np.ndarray, int]):
    """Stand somewhere between 0 and 1, walk to 1. Each step costs the way that is left, the goal ends the episode."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode somewhere in the first half."""
        super().reset(seed=seed)
        self._position = self.np_random.uniform(0.0, 0.5)
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step of a tenth."""
        self._position = np.clip(self._position + (0.1 if action == RIGHT else -0.1), 0.0, 1.0)
        # the goal terminates; the time limit around it truncates
        return self._observation(), float(self._position) - 1.0, bool(self._position >= 1.0), False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self._position], np.float32)


check_env(Corridor())
env = Monitor(gym.wrappers.TimeLimit(Corridor(), 50))
model = TDA2C(
    "MlpPolicy",
    env,
    learning_rate=1e-3,
    critic_learning_rate=3e-3,
    reward_scale=0.1,  # returns of -2 to -50: what the critic learns stays near 1
    bootstrap_on_truncation=True,  # 50 steps are a limit of ours, not an end
    seed=0,
)
model.learn(10_000)
mean, _ = evaluate_policy(model, env, n_eval_episodes=20)
# the best is about -2.5, on the average of the starts
print(f"Mean return of 20 episodes: {mean:.1f}")
