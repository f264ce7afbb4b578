"""MaskableTDA2C for RL Zoo's scripts."""

from typing import ClassVar

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

import sb3_a2c_td
from sb3_a2c_td.vec_env.action_masks import action_masks as masks_of
from sb3_a2c_td.zoo.shown import ShownModel


class MaskableTDA2C(ShownModel, sb3_a2c_td.MaskableTDA2C):
    """MaskableTDA2C as RL Zoo's ``enjoy``, ``record`` and ``push_to_hub`` use it.

    They call ``predict`` without masks. It then takes the masks of the environment that the script shows. RL Zoo logs
    the class's name, so it is the same.
    """

    shown_env: ClassVar[VecEnv | None] = None
    """the environment that the script shows; ``None``: ``predict`` takes only the masks that it is given"""

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions for observations.

        :param observation: an observation, or a batch of them
        :param state: not used
        :param episode_start: not used
        :param deterministic: whether to return the most likely allowed action instead of sampling one
        :param action_masks: which actions are allowed; ``None``: those that ``shown_env`` allows now
        :return: the action or actions, and ``state``
        """
        if action_masks is None and self.shown_env is not None:
            action_masks = masks_of(self.shown_env, self.num_timesteps)
        return super().predict(observation, state, episode_start, deterministic, action_masks)
