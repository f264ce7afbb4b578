"""Plain MLPs on the CPU in numpy, with gradients in closed form."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch as th
from threadpoolctl import ThreadpoolController

from sb3_a2c_td.engines import mlp_gradients
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.interface import (
    INFINITE_STEP,
    DivergenceError,
    GradientReducer,
    LossConfig,
    UnsupportedPolicyError,
    Update,
)
from sb3_a2c_td.engines.mlp_parameters import MlpParameters, unsupported_reason
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.engines.statistics import TDStatistics, td_statistics
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer

MAX_PRODUCTS = 2**30
"""rows times parameters, up to about where several threads of PyTorch would take less time than one of numpy"""
SINGLE_THREADED_PRODUCTS = 2**17
"""rows times parameters up to which numpy takes one thread by itself"""


class NumpyEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    In small batches most of PyTorch's time goes into calls, in large ones into its graph: numpy is several times
    faster. Very large batches of wide networks are left to autograd and its threads.

    :param policy: a plain MLP, in float32 on the CPU, with ``AdamTFLike`` or ``Adam``
    :param reducer: combines the gradients of several processes; ``None``: there is one process
    :raises UnsupportedPolicyError: if the policy is another one
    """

    name = "numpy"

    def __init__(self, policy: SeparateNetworks, reducer: GradientReducer | None = None) -> None:
        self.policy = policy
        self._reducer = reducer
        self._autograd = AutogradEngine(policy, reducer)
        self._action_shape: tuple[int, ...] = policy.action_space.shape  # type: ignore[assignment]
        self._bind()

    def __str__(self) -> str:
        return self.name

    def _bind(self) -> None:
        reason = unsupported_reason(self.policy)
        if reason is not None:
            raise UnsupportedPolicyError(self.name, reason)
        self._mlp = MlpParameters(self.policy)
        self._actor_workspace = mlp_gradients.Workspace(self._mlp.actor_widths[1:].tolist())
        self._critic_workspace = mlp_gradients.Workspace(self._mlp.critic_widths[1:].tolist())

    def refresh(self) -> None:
        """Use the new parts where some were replaced."""
        if not self._mlp.is_bound():
            self._bind()

    def _is_too_large(self, n_rows: int) -> bool:
        return n_rows * self._mlp.n_parameters > MAX_PRODUCTS

    def _one_thread(self, n_rows: int) -> AbstractContextManager[Any]:
        """Keep numpy to one thread: with matrices this narrow, several wait for each other."""
        is_small = n_rows * self._mlp.n_parameters <= SINGLE_THREADED_PRODUCTS
        return nullcontext() if is_small else _blas().limit(limits=1)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions from the policy's distribution."""
        if self._is_too_large(len(observations)):
            return self._autograd.act(observations, streams, action_masks)
        mlp = self._mlp
        with self._one_thread(len(observations)):
            outputs = mlp_gradients.forward(mlp.actor_net, mlp.rows(observations, len(observations)), mlp.use_tanh)[-1]
        if not _are_finite(outputs):
            raise DivergenceError
        noise = self.noise(len(outputs), streams.actions)
        if mlp.log_std is None:
            actions = mlp_gradients.masked(outputs + noise, action_masks, -np.inf).argmax(axis=1)
        else:
            actions = outputs + np.exp(mlp.log_std) * noise.astype(np.float32)
            if not np.isfinite(actions).all():
                raise DivergenceError
        return actions.reshape(-1, *self._action_shape)  # type: ignore[no-any-return]

    def noise(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the noise of ``n`` actions, see :mod:`~sb3_a2c_td.engines.action_sampling`.

        :return: standard normals for continuous actions, Gumbel noise for others, ``(n, n_outputs)`` float64
        """
        size = (n, int(self._mlp.actor_widths[-1]))
        return rng.standard_normal(size) if self._mlp.continuous else rng.gumbel(size=size)

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        """Take one step of Adam on all transitions in the buffer."""
        if self._is_too_large(len(buffer)):
            return self._autograd.update(buffer, config, streams)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), self._one_thread(len(buffer)):
            return self._update(buffer, config)

    def _update(self, buffer: TransitionBuffer, config: LossConfig) -> Update:
        batch, n = buffer.transitions(), len(buffer)
        observations = self._mlp.rows(batch.observations, n)
        next_observations = self._mlp.rows(batch.next_observations, n)
        h = self._critic_forward(observations, next_observations)
        values, next_values = h[-1][:n, 0].copy(), h[-1][n:, 0]
        discounts = np.float32(config.gamma) * ~config.ended(batch)
        targets = np.float32(config.reward_scale) * batch.rewards + discounts * next_values
        td_errors = targets - values
        critic_loss = self._critic_backward([layer[:n] for layer in h], td_errors)
        statistics = td_statistics(targets, td_errors)
        advantages = self._normalized(td_errors, statistics) if config.normalize_advantage else td_errors
        actor_loss, entropy = self._actor_gradient(observations, batch.actions, batch.action_masks, advantages, config)
        self._mlp.restore_gradients()
        if self._reducer is not None:
            metrics = th.tensor([actor_loss, critic_loss, entropy])
            self._reducer.reduce(self.policy.parameters(), metrics, n)
            actor_loss, critic_loss, entropy = metrics.tolist()
        loss = actor_loss + critic_loss - config.ent_coef * entropy
        norm = math.sqrt(np.dot(self._mlp.flat[1], self._mlp.flat[1]))
        if math.isfinite(loss) and math.isfinite(norm):
            self._step(norm, config.max_grad_norm)
        return Update(targets, values, actor_loss, critic_loss, -entropy, norm, *statistics)

    def _critic_forward(self, observations: np.ndarray, next_observations: np.ndarray) -> list[np.ndarray]:
        """Compute the critic's layers for ``[s; s']`` in one pass."""
        rows = np.concatenate([observations, next_observations])
        workspace = self._critic_workspace.arrays(len(rows))
        return mlp_gradients.forward(self._mlp.critic_net, rows, self._mlp.use_tanh, workspace)

    def _critic_backward(self, h: list[np.ndarray], td_errors: np.ndarray) -> float:
        """Fill the gradient of the critic's loss, and return the loss."""
        n = len(td_errors)
        delta = (-2.0 / n) * td_errors[:, None]
        mlp_gradients.backward(self._mlp.critic_net, h, delta, self._mlp.use_tanh, self._mlp.critic_grads)
        return float(np.dot(td_errors, td_errors)) / n

    def _normalized(self, td_errors: np.ndarray, statistics: TDStatistics) -> np.ndarray:
        n = len(td_errors)
        if self._reducer is not None:
            return self._reducer.normalize(td_errors)
        if n == 1:
            return td_errors
        return (td_errors - statistics.mean) / (statistics.std * math.sqrt(n / (n - 1)) + 1e-8)

    def _actor_gradient(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        action_masks: np.ndarray | None,
        advantages: np.ndarray,
        config: LossConfig,
    ) -> tuple[float, float]:
        """Fill the gradient of the actor's and the entropy's loss; return the former and the mean entropy."""
        mlp, n = self._mlp, len(advantages)
        if not mlp.continuous and actions.min() < 0:
            raise IndexError("actions: an action lies outside the action space")
        weights = advantages[:, None] / -n
        h = mlp_gradients.forward(mlp.actor_net, observations, mlp.use_tanh, self._actor_workspace.arrays(n))
        if mlp.log_std is None:
            logits = mlp_gradients.masked(h[-1], action_masks, mlp_gradients.MASKED_LOGIT)
            log_prob, entropy, score, d_entropy = mlp_gradients.categorical(
                logits, actions.reshape(n), config.double_softmax
            )
            delta = weights * score
            if config.ent_coef != 0.0:
                delta -= config.ent_coef / n * d_entropy
        else:
            log_prob, entropy, score, log_std_score = mlp_gradients.gaussian(h[-1], mlp.log_std, actions.reshape(n, -1))
            delta = weights * score
            mlp.log_std_grad[:] = (weights * log_std_score).sum(axis=0) - config.ent_coef
        mlp_gradients.backward(mlp.actor_net, h, delta, mlp.use_tanh, mlp.actor_grads)
        return -float(np.dot(advantages, log_prob)) / n, float(entropy.mean())

    def _step(self, norm: float, max_grad_norm: float | None) -> None:
        """Clip the gradient and take one step of Adam, with a learning rate for each network."""
        mlp = self._mlp
        if max_grad_norm is not None and max_grad_norm < norm + 1e-6:
            mlp.flat[1] *= max_grad_norm / (norm + 1e-6)
        actor, critic = mlp.flat[:, : len(mlp.actor)], mlp.flat[:, len(mlp.actor) :]
        actor_step = mlp_gradients.adam(actor, *mlp.actor_adam())
        critic_step = mlp_gradients.adam(critic, *mlp.critic_adam())
        if not (_are_finite(actor_step[0]) and _are_finite(critic_step[0])):
            raise DivergenceError(INFINITE_STEP)
        actor[0], actor[2], actor[3] = actor_step
        critic[0], critic[2], critic[3] = critic_step
        mlp.count_steps()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _are_finite(numbers: np.ndarray) -> bool:
    # the sum of squares takes a third of the time, and may overflow
    return math.isfinite(np.vdot(numbers, numbers)) or bool(np.isfinite(numbers).all())
