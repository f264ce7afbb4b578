"""Models that take given actions, so that two of them see the same transitions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sb3_a2c_td import TDA2C


class GivenActions(TDA2C):
    """Takes given actions and draws none."""

    given: Sequence[np.ndarray] | np.ndarray
    """the actions of each step, ``(n_envs, *action_shape)``"""

    def sample_actions(self, observations: Any) -> np.ndarray:
        return self.given[self.num_timesteps // self.n_envs]


class GivenActionsAfterDraws(GivenActions):
    """Draws actions as usual, which reads masks, advances LSTM states and runs hooks, but takes the given ones."""

    def sample_actions(self, observations: Any) -> np.ndarray:
        TDA2C.sample_actions(self, observations)
        return super().sample_actions(observations)
