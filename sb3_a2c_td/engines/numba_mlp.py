"""Plain MLPs on the CPU, compiled by numba: one kernel draws actions, one takes an update."""

import math

import numpy as np
from numba.core.event import Event, Listener, register

from sb3_a2c_td.engines import compilation, numba_kernels
from sb3_a2c_td.engines.interface import INFINITE_STEP, DivergenceError, LossConfig, Update
from sb3_a2c_td.engines.mlp_parameters import MlpParameters, as_rows
from sb3_a2c_td.engines.numpy_mlp import NumpyEngine
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

PACKAGE = __name__.partition(".")[0]
MAX_WIDTH = 128
"""up to about this width of layers, the kernels take less time than numpy on batches of any size"""
MAX_ROWS = 256
"""up to about where they do in wider networks, whose large matrices numpy multiplies by a library"""


class _CompilationListener(Listener):
    """Announces that kernels of this package are compiled. Users' environments may compile other functions."""

    def on_start(self, event: Event) -> None:
        """Announce it if that is due."""
        if _is_kernel(event):
            compilation.begin()

    def on_end(self, event: Event) -> None:
        """Measure it."""
        if _is_kernel(event):
            compilation.end()


def _is_kernel(event: Event) -> bool:
    # functions without a file have no module
    return str(event.data["dispatcher"].py_func.__module__).startswith(f"{PACKAGE}.")


register("numba:compile", _CompilationListener())


class NumbaEngine(NumpyEngine):
    """See :class:`~sb3_a2c_td.engines.interface.Engine`. Large batches of wide networks are left to numpy.

    :param policy: a plain MLP, in float32 on the CPU, with ``AdamTFLike`` or ``Adam``
    :raises UnsupportedPolicyError: if the policy is another one
    """

    name = "numba"

    def _bind(self) -> None:
        super()._bind()
        self._is_wide = max(*self._mlp.actor_widths, *self._mlp.critic_widths) > MAX_WIDTH

    def leaves_to_numpy(self, n_rows: int) -> bool:
        """Check whether numpy computes a batch, since it takes less time.

        :param n_rows: rows in the batch
        """
        return n_rows > MAX_ROWS and (self._is_wide or self._is_too_large(n_rows))

    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions with one kernel."""
        if self.leaves_to_numpy(len(observations)):
            return super().act(observations, streams, action_masks)
        mlp = self._mlp
        rows = mlp.rows(observations, len(observations))
        network = (mlp.actor_widths, mlp.actor, mlp.use_tanh)
        noise = self.noise(len(rows), streams.actions)
        if mlp.continuous:
            actions, are_finite = numba_kernels.draw_gaussian(*network, rows, noise)
        elif action_masks is None:
            actions, are_finite = numba_kernels.draw_categorical_unmasked(*network, rows, noise)
        else:
            masks = self._mask_rows(action_masks, len(rows))
            actions, are_finite = numba_kernels.draw_categorical(*network, rows, noise, masks)
        if not are_finite:
            raise DivergenceError
        return actions.reshape(-1, *self._action_shape) if mlp.continuous else actions  # type: ignore[no-any-return]

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        """Take one step of the optimizer on all transitions in the buffer with one kernel."""
        if self.leaves_to_numpy(len(buffer)):
            return super().update(buffer, config, streams)
        mlp = self._mlp
        batch, n = buffer.transitions(), len(buffer)
        action_width, action_dtype = (int(mlp.actor_widths[-1]), np.float32) if mlp.continuous else (1, np.int64)
        is_due, is_taken, targets, values, metrics = numba_kernels.update(
            mlp.actor_widths,
            mlp.critic_widths,
            len(mlp.actor),
            mlp.flat,
            mlp.use_tanh,
            mlp.continuous,
            mlp.rows(batch.observations, n),
            as_rows(batch.actions, action_dtype, action_width, "actions", n),
            self._mask_rows(batch.action_masks, n),
            batch.rewards.reshape(n),
            mlp.rows(batch.next_observations, n),
            batch.terminated.reshape(n),
            batch.truncated.reshape(n),
            as_numbers(config),
            mlp.actor_adam(),
            mlp.critic_adam(),
        )
        mlp.restore_gradients()
        if is_taken:
            mlp.count_steps()
        elif is_due:
            raise DivergenceError(INFINITE_STEP)
        return Update(targets, values, *metrics)

    @property
    def mlp(self) -> MlpParameters:
        """The memory of the policy, on which the kernels compute."""
        return self._mlp

    def _mask_rows(self, action_masks: np.ndarray | None, n_rows: int) -> np.ndarray:
        """Return the masks as the kernels take them; these do not check their shape."""
        if action_masks is None or self._mlp.continuous:
            return numba_kernels.NO_MASKS
        return as_rows(action_masks, np.bool_, int(self._mlp.actor_widths[-1]), "action_masks", n_rows)


def as_numbers(config: LossConfig) -> tuple[float, float, bool, bool, float, float, bool]:
    """Return the settings of the loss as :func:`~sb3_a2c_td.engines.numba_kernels.update` takes them.

    :param config: the settings
    """
    return (
        float(config.gamma),
        float(config.reward_scale),
        bool(config.bootstrap_on_truncation),
        bool(config.double_softmax),
        float(config.ent_coef),
        math.inf if config.max_grad_norm is None else float(config.max_grad_norm),
        bool(config.normalize_advantage),
    )
