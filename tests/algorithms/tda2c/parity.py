"""Shared by the tests of parity with other algorithms."""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback


class Recorder(BaseCallback):
    """Records the parameters after every update and the actions of every step."""

    def _init_callback(self) -> None:
        self.parameters: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []

    def _on_rollout_start(self) -> None:
        state = self.model.policy.state_dict()
        self.parameters.append(np.concatenate([state[key].numpy().ravel() for key in sorted(state)]))

    def _on_step(self) -> bool:
        self.actions.append(self.locals["actions"].copy())
        return True
