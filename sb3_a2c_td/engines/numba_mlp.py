"""Compiled kernels for plain MLP policies on the CPU, working in place on the policy's and optimiser's own memory."""

import math

import numpy as np

from sb3_a2c_td.engines import numba_kernels
from sb3_a2c_td.engines.interface import NO_STEP, DivergenceError, Objective, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.mlp_parameters import FlatMlp, as_rows, unsupported_reason
from sb3_a2c_td.engines.numpy_mlp import TorchEngine
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

MAX_ROWS = 512
"""up to about where the kernels take less time than numpy, which multiplies large matrices by a library"""


class NumbaEngine(TorchEngine):
    """See :class:`~sb3_a2c_td.engines.interface.Engine`. Large batches are left to numpy, as ``"torch"`` takes them.

    :param policy: a plain MLP, in float32 on the CPU, with ``AdamTFLike`` or ``Adam``
    :raises UnsupportedPolicyError: if it is another one, saying why
    """

    name = "numba"
    _mlp: FlatMlp

    def _bound(self) -> FlatMlp:
        reason = unsupported_reason(self.policy)
        if reason is not None:
            raise UnsupportedPolicyError(self.name, reason)
        return FlatMlp(self.policy)

    def act(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        """Draw actions with one kernel."""
        if len(observations) > MAX_ROWS:
            return super().act(observations, action_masks)
        if not self._mlp.actor_is_bound():
            self._mlp = self._bound()
        mlp = self._mlp
        rows = mlp.rows(observations)
        network, noise = (mlp.actor_widths, mlp.actor, mlp.use_tanh), mlp.noise(len(rows))
        if mlp.continuous:
            actions, are_finite = numba_kernels.draw_gaussian(*network, rows, noise)
        else:
            actions, are_finite = numba_kernels.draw_categorical(*network, rows, noise, _as_array(action_masks))
        if not are_finite:
            raise DivergenceError
        return actions.reshape(-1, *self._action_shape) if mlp.continuous else actions  # type: ignore[no-any-return]

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer with one kernel."""
        if len(buffer) > MAX_ROWS:
            return super().update(buffer, objective)
        if not self._mlp.is_bound():
            self._mlp = self._bound()
        mlp = self._mlp
        batch = buffer.transitions()
        n_numbers, dtype = (int(mlp.actor_widths[-1]), np.float32) if mlp.continuous else (1, np.int64)
        was_due, was_taken, targets, values, figures = numba_kernels.update(
            mlp.actor_widths,
            mlp.critic_widths,
            len(mlp.actor),
            mlp.numbers,
            mlp.use_tanh,
            mlp.continuous,
            mlp.rows(batch.observations),
            as_rows(batch.actions, dtype, n_numbers, "actions"),
            _as_array(batch.action_masks),
            batch.rewards,
            mlp.rows(batch.next_observations),
            batch.terminated,
            batch.truncated,
            _as_numbers(objective),
            mlp.actor_adam(),
            mlp.critic_adam(),
        )
        mlp.show_gradients()
        if was_taken:
            mlp.count_step()
        elif was_due:
            raise DivergenceError(NO_STEP)
        return Update(targets, values, *figures)


def _as_array(action_masks: np.ndarray | None) -> np.ndarray:
    return numba_kernels.NO_MASKS if action_masks is None else action_masks


def _as_numbers(objective: Objective) -> tuple[float, float, bool, bool, float, float, bool]:
    return (
        float(objective.gamma),
        float(objective.reward_scale),
        bool(objective.bootstrap_on_truncation),
        bool(objective.double_softmax),
        float(objective.ent_coef),
        math.inf if objective.max_grad_norm is None else float(objective.max_grad_norm),
        bool(objective.normalize_advantage),
    )
