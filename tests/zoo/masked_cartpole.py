"""CartPole that allows action 1 at every other step only; importing the module registers it."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class MaskedCartPole(CartPoleEnv):
    """Raises if an action is not allowed."""

    def action_masks(self) -> np.ndarray:
        return np.array([True, self.t % 2 == 1])

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_masks()[action], f"action {action} is not allowed in step {self.t}"
        self.t += 1
        return super().step(action)


gym.register("MaskedCartPole-v0", MaskedCartPole, max_episode_steps=50)
