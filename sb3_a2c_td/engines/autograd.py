"""The reference engine: any policy on any device, with PyTorch's automatic differentiation."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.utils import obs_as_tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sb3_a2c_td import losses
from sb3_a2c_td.engines.action_sampling import draw_actions
from sb3_a2c_td.engines.finite_step import take_finite_step
from sb3_a2c_td.engines.interface import GradientReducer, LossConfig, UnsupportedPolicyError, Update
from sb3_a2c_td.engines.policy_outputs import (
    action_distribution,
    keeping_last_distribution,
    log_prob_and_entropy,
    state_values,
)
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.engines.stateless_modules import is_stateless
from sb3_a2c_td.engines.statistics import td_statistics
from sb3_a2c_td.engines.value_reuse import next_state_values
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.policies.threads import n_rows, one_thread_if_small
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions


class AutogradEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`. :meth:`update` is the algorithm on one page.

    :param policy: the policy to act for and to update
    :param reducer: combines the gradients of several processes; ``None``: there is one process
    :raises UnsupportedPolicyError: if there are several processes and a policy with BatchNorm
    """

    def __init__(self, policy: SeparateNetworks, reducer: GradientReducer | None = None) -> None:
        if reducer is not None and any(isinstance(module, _BatchNorm) for module in policy.modules()):
            raise UnsupportedPolicyError("autograd", "its BatchNorm would have other statistics in each process")
        self.policy = policy
        self._reducer = reducer
        self._action_shape: tuple[int, ...] = policy.action_space.shape  # type: ignore[assignment]
        self.refresh()

    def __str__(self) -> str:
        return "autograd"

    def refresh(self) -> None:
        """Look for modules that may draw random numbers; every call uses the policy as it is."""
        self._is_stateless = is_stateless(self.policy)

    @contextmanager
    def _computing(self, batch: Any, streams: RandomStreams) -> Iterator[None]:
        """Keep PyTorch to one thread for small batches, and let modules such as dropout draw from the model's stream.

        :param batch: observations or a buffer
        """
        seeding = nullcontext() if self._is_stateless else streams.seeding_torch(self.policy.device)
        with one_thread_if_small(self.policy, n_rows(batch)), seeding:
            yield

    @th.no_grad()
    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions from the policy's distribution."""
        with self._computing(observations, streams):
            obs = obs_as_tensor(observations, self.policy.device)
            actions = draw_actions(action_distribution(self.policy, obs, action_masks), streams, self.policy.device)
        return actions.cpu().numpy().reshape(-1, *self._action_shape)

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        r"""Take one step of both optimizers down the losses of actor and critic.

        .. math::

            y = \tilde r + \gamma V(s'), \qquad A = y - V(s), \qquad
            L = \operatorname{mean}(-A \log \pi(a|s)) + \operatorname{mean}((y - V(s))^2)
        """
        with self._computing(buffer, streams):
            return self._update(buffer.tensors(self.policy.device), buffer, config)

    def _update(self, batch: Transitions[th.Tensor], buffer: TransitionBuffer, config: LossConfig) -> Update:
        # targets and advantages in evaluation mode, so that dropout and BatchNorm do not blur them
        self._set_training_mode(False)
        values, next_values = self._values(buffer, batch)
        discounts = losses.discounts(config.ended(batch), config.gamma)
        targets = losses.td_target(config.reward_scale * batch.rewards, discounts, next_values)
        td_errors = losses.td_error(targets, values.detach())
        advantages = self._normalize(td_errors) if config.normalize_advantage else td_errors

        # losses in training mode, but for a batch of one, which has no statistics for BatchNorm
        self._set_training_mode(len(targets) > 1)
        log_prob, entropy = self._log_prob_and_entropy(batch, config.double_softmax)
        actor_loss = losses.actor_loss(log_prob, advantages)
        critic_loss = losses.critic_loss(self._values_to_train(batch, values), targets)
        entropy_loss = -entropy.mean()
        loss = actor_loss + critic_loss + config.ent_coef * entropy_loss

        self.policy.optimizer.zero_grad()
        loss.backward()
        metrics = th.stack([loss, actor_loss, critic_loss, entropy_loss]).detach()
        if self._reducer is not None:
            self._reducer.reduce(self.policy.parameters(), metrics, len(targets))
        max_norm = math.inf if config.max_grad_norm is None else config.max_grad_norm
        grad_norm = th.nn.utils.clip_grad_norm_(self.policy.parameters(), max_norm).item()

        # before the step, after which nothing may fail
        update = self._report(targets, values, td_errors, metrics, grad_norm)
        if math.isfinite(metrics[0]) and math.isfinite(grad_norm):
            take_finite_step(self.policy.optimizer)
        return update

    @staticmethod
    def _report(
        targets: th.Tensor, values: th.Tensor, td_errors: th.Tensor, metrics: th.Tensor, grad_norm: float
    ) -> Update:
        _, actor_loss, critic_loss, entropy_loss = metrics.tolist()
        y, v, errors = (tensor.numpy(force=True) for tensor in (targets, values, td_errors))
        return Update(y, v, actor_loss, critic_loss, entropy_loss, grad_norm, *td_statistics(y, errors))

    def _set_training_mode(self, mode: bool) -> None:
        if self.policy.training != mode:
            self.policy.set_training_mode(mode)

    def _values(self, buffer: TransitionBuffer, batch: Transitions[th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        """Compute V(s) and V(s'), each ``(N,)``; only V(s) can be differentiated."""
        values = self._state_values(batch)
        with th.no_grad():
            return values, next_state_values(self.policy, buffer, batch, values)

    def _values_to_train(self, batch: Transitions[th.Tensor], values: th.Tensor) -> th.Tensor:
        """Return V(s) in training mode: ``values``, which were computed in evaluation mode, where it is the same."""
        if not self.policy.training or self._is_stateless:
            return values
        return self._state_values(batch)

    def _state_values(self, batch: Transitions[th.Tensor]) -> th.Tensor:
        """Compute V(s), ``(N,)``."""
        return state_values(self.policy, batch.observations)

    def _log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        r"""Compute :math:`\log \pi(a|s)` and the entropy, each ``(N,)``."""
        with keeping_last_distribution(self.policy):
            distribution = action_distribution(self.policy, batch.observations, batch.action_masks)
            return log_prob_and_entropy(self.policy, distribution, batch.actions, double_softmax)

    def _normalize(self, advantages: th.Tensor) -> th.Tensor:
        return losses.normalized(advantages) if self._reducer is None else self._reducer.normalize(advantages)
