"""The fastest engine that is exact for a policy."""

import importlib.util
import warnings

import numpy as np

from sb3_a2c_td.engines.interface import Objective, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.mlp_parameters import unsupported_reason
from sb3_a2c_td.engines.numpy_mlp import TorchEngine
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

N_TORCH_UPDATES = 200
"""updates before anything is compiled: short runs are over by then"""


class AutoEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    Torch, and where numba is installed and can serve the policy, the compiled kernels from update 201 on. The state of
    the optimiser counts the updates, so that a run takes the same way when it is saved and resumed.

    :param policy: the policy to act for and to update
    """

    name = "auto"

    def __init__(self, policy: SeparateNetworks) -> None:
        self.policy = policy
        self._engine = TorchEngine(policy)
        self._why_not_numba = _why_not_numba(policy)

    def __str__(self) -> str:
        if self._why_not_numba is not None:
            return f"torch ({self._why_not_numba})"
        return f"torch for the first {N_TORCH_UPDATES} updates, then numba"

    def act(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        """Draw actions with the engine that is due."""
        try:
            return self._due().act(observations, action_masks)
        except UnsupportedPolicyError as error:
            return self._fall_back(error).act(observations, action_masks)

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser with the engine that is due."""
        try:
            return self._due().update(buffer, objective)
        except UnsupportedPolicyError as error:
            return self._fall_back(error).update(buffer, objective)

    def _due(self) -> TorchEngine:
        if self._why_not_numba is None and type(self._engine) is TorchEngine and self._n_updates() >= N_TORCH_UPDATES:
            try:
                from sb3_a2c_td.engines.numba_mlp import NumbaEngine  # compiles, or loads what was compiled

                self._engine = NumbaEngine(self.policy)
            except Exception as error:  # a numba that does not import, a cache that cannot be written, ...
                self._why_not_numba = f"numba failed: {error}"
                warnings.warn(f"engine='auto' goes on with torch, since numba failed: {error}", stacklevel=2)
        return self._engine

    def _n_updates(self) -> int:
        state = next(iter(self.policy.optimizer.state.values()), None)
        return 0 if state is None else int(state.get("step", 0))

    def _fall_back(self, error: UnsupportedPolicyError) -> TorchEngine:
        """The policy was changed into one that numba cannot serve."""
        self._why_not_numba = error.reason
        self._engine = TorchEngine(self.policy)
        return self._engine


def _why_not_numba(policy: SeparateNetworks) -> str | None:
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed: pip install 'sb3-a2c-td[fast]'"
    return unsupported_reason(policy)
