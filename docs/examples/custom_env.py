"""Your own environment: check it, add a time limit, train on it."""

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
    """Walk along a corridor from 0 to 1. A step costs the remaining distance, and reaching 1 ends the episode."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at a random position in the first half."""
        super().reset(seed=seed)
        self._position = self.np_random.uniform(0.0, 0.5)
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move by a tenth to the left or to the right."""
        self._position = np.clip(self._position + (0.1 if action == RIGHT else -0.1), 0.0, 1.0)
        # reaching the goal terminates; the TimeLimit wrapper truncates
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
    reward_scale=0.1,  # returns of -1 to -50: keeps the critic's values near 1
    bootstrap_on_truncation=True,  # 50 steps are a time limit, not a termination
    seed=0,
)
model.learn(10_000)
mean, _ = evaluate_policy(model, env, n_eval_episodes=20)
# the optimum is about -2.5 on average
print(f"Mean return of 20 episodes: {mean:.1f}")
