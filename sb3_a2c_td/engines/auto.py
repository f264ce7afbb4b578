"""The fastest engine that is exact for a policy."""

import importlib.util
import math
import warnings
from collections.abc import Callable

import numpy as np

from sb3_a2c_td import extras
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.interface import Engine, GradientReducer, LossConfig, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.mlp_parameters import unsupported_reason
from sb3_a2c_td.engines.numpy_mlp import NumpyEngine
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

N_NUMPY_UPDATES = 200
"""updates before anything is compiled: trainings that fail early have failed by then"""
MIN_STEPS_TO_COMPILE = 100_000
"""steps of each environment from about which on compiling takes less time than it saves"""


class AutoEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    Plain MLPs are computed in numpy, and by numba where that pays off and is installed: from update 201 on in long
    trainings, and from the first on in compiled environments. All other policies are computed by autograd. Whether
    numba is due depends only on the environments and on what a zip holds: the updates that the optimizer counts, and
    the length of the longest call of ``learn``. So a resumed training changes at the same update. It does not depend on
    whether compiled code is on disk: the same seed would give other results, since the engines differ by rounding.

    :param policy: the policy to act for and to update
    :param reducer: combines the gradients of several processes, which numba does not; ``None``: there is one process
    :param n_numpy_updates: returns after how many updates numba takes over; infinity: never
    """

    def __init__(
        self,
        policy: SeparateNetworks,
        reducer: GradientReducer | None = None,
        n_numpy_updates: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.policy = policy
        self._reducer = reducer
        self._n_numpy_updates = n_numpy_updates
        self._uses_numba = False
        self._numpy_unsupported_reason = unsupported_reason(policy)
        self._numba_unsupported_reason = self._numpy_unsupported_reason or _numba_unsupported_reason(reducer)
        self._engine: Engine = (
            NumpyEngine(policy, reducer) if self._numpy_unsupported_reason is None else AutogradEngine(policy, reducer)
        )

    def __str__(self) -> str:
        if self._numpy_unsupported_reason is not None:
            return f"autograd ({self._numpy_unsupported_reason})"
        if self._numba_unsupported_reason is not None:
            return f"numpy ({self._numba_unsupported_reason})"
        if self._n_numpy_updates() == 0:
            return "numba"
        return f"numpy, then numba in trainings of at least {MIN_STEPS_TO_COMPILE:,} steps per environment"

    def refresh(self) -> None:
        """Adapt to structural changes; change to autograd if the policy is no longer a plain MLP."""
        try:
            if self._uses_numba and not self._numba_is_due():
                self._change_to_numpy()
            else:
                self._engine.refresh()
        except UnsupportedPolicyError as error:
            self._fall_back(error)

    def _fall_back(self, error: UnsupportedPolicyError) -> None:
        self._numpy_unsupported_reason = self._numba_unsupported_reason = error.reason
        self._engine, self._uses_numba = AutogradEngine(self.policy, self._reducer), False

    def current(self) -> Engine:
        """Return the engine that is due."""
        if not self._uses_numba and self._numba_is_due():
            self._change_to_numba()
        return self._engine

    def _numba_is_due(self) -> bool:
        return self._numba_unsupported_reason is None and self._n_updates() >= self._n_numpy_updates()

    def _change_to_numpy(self) -> None:
        self._engine, self._uses_numba = NumpyEngine(self.policy, self._reducer), False

    def _change_to_numba(self) -> None:
        try:
            from sb3_a2c_td.engines.numba_mlp import NumbaEngine  # compiles, or loads what was compiled

            self._engine, self._uses_numba = NumbaEngine(self.policy), True
        except UnsupportedPolicyError as error:  # the policy changed since the last refresh()
            self._fall_back(error)
        except Exception as error:  # a numba that does not import, a cache that cannot be written, ...
            self._numba_unsupported_reason = f"numba failed: {error}"
            warnings.warn(f"engine='auto' continues with numpy, since numba failed: {error}", stacklevel=2)

    def _n_updates(self) -> int:
        state = next(iter(self.policy.optimizer.state.values()), None)
        return 0 if state is None else int(state.get("step", 0))

    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions with the engine that is due."""
        return self.current().act(observations, streams, action_masks)

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        """Take one step of the optimizer with the engine that is due."""
        return self.current().update(buffer, config, streams)


def _numba_unsupported_reason(reducer: GradientReducer | None) -> str | None:
    if reducer is not None:
        return "numba does not combine gradients of several processes"
    if importlib.util.find_spec("numba") is None:
        return f"numba is not installed: {extras.install('fast')}"
    return None
