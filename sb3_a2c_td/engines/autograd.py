"""The reference: the networks of any policy, through SB3's interface, with PyTorch's automatic differentiation."""

import math
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, MlpExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor
from torch import nn

from sb3_a2c_td import losses
from sb3_a2c_td.engines.change_detection import is_altered
from sb3_a2c_td.engines.interface import NO_STEP, DivergenceError, Objective, Others, Update
from sb3_a2c_td.optimizers import largest_step
from sb3_a2c_td.policies.maskable import MaskableCnnPolicy, MaskableMlpPolicy, MaskableMultiInputPolicy
from sb3_a2c_td.policies.recurrent import CnnLstmPolicy, MlpLstmPolicy, MultiInputLstmPolicy
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateNetworks
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions

MODE_FREE: frozenset[type[nn.Module]] = frozenset(
    {
        *(MlpPolicy, CnnPolicy, MultiInputPolicy),
        *(MaskableMlpPolicy, MaskableCnnPolicy, MaskableMultiInputPolicy),
        *(MlpExtractor, FlattenExtractor, NatureCNN, CombinedExtractor),
        *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Identity, nn.Flatten),
        *(MlpLstmPolicy, CnnLstmPolicy, MultiInputLstmPolicy, nn.LSTM),
        *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.LayerNorm),
        *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid),
    }
)
"""modules that compute the same in training mode and in evaluation mode, and each row by itself"""

LARGE = 2**14
"""numbers in a batch's observations from about which on comparing them takes less time than a pass of the critic"""


FAR = 1e37
"""steps up to which parameters cannot become infinite, unless they are as good as that, so that no copy is kept"""


class AnyNetworks:
    """What the torch engine does with a policy, in SB3's way.

    :param policy: the policy
    :param others: those who train it with this one
    """

    def __init__(self, policy: SeparateNetworks, others: Others | None = None) -> None:
        self.policy = policy
        self._others = others

    @th.no_grad()
    def draw(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        """Draw actions, ``(N, *action_shape)`` or with its axes flattened."""
        obs = obs_as_tensor(observations, self.policy.device)
        return self.distribution(obs, action_masks).get_actions().cpu().numpy()

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions, unless the losses or their gradient are not finite."""
        batch = buffer.tensors(self.policy.device)
        self._set_training_mode(False)
        targets, advantages, values = self.targets_and_advantages(batch, self._successors(buffer, batch), objective)
        # a batch of one has no statistics: layers like BatchNorm then use their running ones
        self._set_training_mode(len(targets) > 1)
        losses = self.losses(batch, values, targets, advantages, objective)
        # before the step, after which nothing may run out of memory
        variances, means = th.var_mean(th.stack([advantages, targets]), dim=1, correction=0)
        actor_loss, critic_loss, entropy_loss = losses
        loss = actor_loss + critic_loss + objective.ent_coef * entropy_loss
        self.policy.optimizer.zero_grad()
        loss.backward()
        if self._others is not None:
            of_all = th.stack([loss, *losses]).detach()
            self._others.average(self.policy.parameters(), of_all, len(targets))
            loss, actor_loss, critic_loss, entropy_loss = of_all.unbind()
        norm = self._descend(loss, objective.max_grad_norm)
        td_error_var, target_var = variances.tolist()
        return Update(
            targets.cpu().numpy(),
            values.detach().cpu().numpy(),
            actor_loss.item(),
            critic_loss.item(),
            entropy_loss.item(),
            norm,
            td_error=means[0].item(),
            td_error_std=math.sqrt(td_error_var),
            explained_variance=math.nan if target_var == 0.0 else 1.0 - td_error_var / target_var,
        )

    def _successors(self, buffer: TransitionBuffer, batch: Transitions[th.Tensor]) -> np.ndarray | None:
        are_sought = _size(batch.observations) > LARGE and is_mode_free(self.policy)
        return buffer.successors() if are_sought else None

    def _set_training_mode(self, mode: bool) -> None:
        if self.policy.training != mode:
            self.policy.set_training_mode(mode)

    def targets_and_advantages(
        self, batch: Transitions[th.Tensor], successors: np.ndarray | None, objective: Objective
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute y, A and V(s), each ``(N,)``, with the critic as it stands; only V(s) can be differentiated.

        :param successors: ``(N,)`` as in ``TransitionBuffer.successors``; ``None``: not sought
        """
        ended = batch.terminated if objective.bootstrap_on_truncation else batch.terminated | batch.truncated
        values, next_values = self.values_and_next_values(batch, successors)
        with th.no_grad():
            discount = losses.discounts(ended, objective.gamma)
            targets = losses.td_target(objective.reward_scale * batch.rewards, discount, next_values)
            return targets, losses.td_error(targets, values), values

    def values_of(self, batch: Transitions[th.Tensor]) -> th.Tensor:
        """Compute V(s), ``(N,)``."""
        return self.values(batch.observations)

    def values_and_next_values(
        self, batch: Transitions[th.Tensor], successors: np.ndarray | None
    ) -> tuple[th.Tensor, th.Tensor]:
        """Compute V(s) and V(s'), each ``(N,)``; only V(s) can be differentiated."""
        values = self.values_of(batch)
        with th.no_grad():
            return values, self._next_values(batch, values, successors)

    def _next_values(
        self, batch: Transitions[th.Tensor], values: th.Tensor, successors: np.ndarray | None
    ) -> th.Tensor:
        """Compute V(s'); where s' is the s of another row, V(s) holds it already."""
        if successors is None:
            return self.values(batch.next_observations)
        unseen = np.flatnonzero(successors < 0)
        next_values = values[successors]
        next_values[unseen] = self.values(_rows(batch.next_observations, unseen))
        return next_values

    def losses(
        self,
        batch: Transitions[th.Tensor],
        values: th.Tensor,
        targets: th.Tensor,
        advantages: th.Tensor,
        objective: Objective,
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute the actor's loss, the critic's and the entropy's, each a scalar.

        :param values: V(s) in evaluation mode, computed anew where training mode makes a difference
        """
        log_prob, entropy = self.log_prob_and_entropy(batch, objective.double_softmax)
        if self.policy.training and not is_mode_free(self.policy):
            values = self.values_of(batch)
        if objective.normalize_advantage:
            advantages = (self._others or losses).normalized(advantages)
        return losses.actor_loss(log_prob, advantages), losses.critic_loss(values, targets), -entropy.mean()

    def values(self, observations: PyTorchObs) -> th.Tensor:
        """Compute V, ``(N,)``."""
        return self.policy.predict_values(observations).squeeze(1)

    def log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        r"""Compute :math:`\log \tau(a|s)` (or the double softmax of it) and the entropy, each ``(N,)``."""
        return self.of_distribution(
            self.distribution(batch.observations, batch.action_masks), batch.actions, double_softmax
        )

    def of_distribution(
        self, distribution: Distribution, actions: th.Tensor, double_softmax: bool
    ) -> tuple[th.Tensor, th.Tensor]:
        """Do what :meth:`log_prob_and_entropy` does for a distribution of actions."""
        if isinstance(self.policy.action_space, spaces.Box | spaces.MultiBinary):
            # (N, *action_shape) -> (N, action_dim)
            actions = actions.flatten(start_dim=1).float()
        log_prob = distribution.log_prob(actions)
        entropy = distribution.entropy()
        if entropy is None:
            # a squashed Gaussian has no closed form: estimate it, as SB3 does
            entropy = -log_prob
        if double_softmax:
            assert isinstance(distribution.distribution, th.distributions.Categorical)
            log_prob = losses.double_softmax_log_prob(distribution.distribution.logits, actions)
        return log_prob, entropy

    def distribution(self, observations: PyTorchObs, action_masks: Any = None) -> Distribution:
        """Give the distribution of actions.

        :raises DivergenceError: if there is none
        """
        masks = () if action_masks is None else (action_masks,)
        try:
            return self.policy.get_distribution(observations, *masks)  # type: ignore[no-any-return]
        except ValueError as error:
            raise DivergenceError from error

    def _descend(self, loss: th.Tensor, max_grad_norm: float | None) -> float:
        """Take one step of the optimiser, unless loss or gradient are not finite; give the gradient's norm."""
        norm = th.nn.utils.clip_grad_norm_(self.policy.parameters(), max_grad_norm or math.inf)
        if th.isfinite(loss) and th.isfinite(norm):
            self._step()
        return norm.item()

    @th.no_grad()
    def _step(self) -> None:
        """Let the optimiser take a step; if it fails, or parameters would not be finite, they stay as they are."""
        if largest_step(self.policy.optimizer) < FAR:
            self.policy.optimizer.step()
            return
        params = [param for group in self.policy.optimizer.param_groups for param in group["params"]]
        before = [param.clone() for param in params]
        try:
            self.policy.optimizer.step()
            if not th.stack(th._foreach_norm(params, math.inf)).isfinite().all():
                raise DivergenceError(NO_STEP)
        except BaseException:
            for param, last in zip(params, before, strict=True):
                param.copy_(last)
            raise


def is_mode_free(policy: SeparateNetworks) -> bool:
    """Say whether a policy surely computes the same in training mode and in evaluation mode, and row by row."""
    return all(
        # an LSTM may drop out by itself
        type(module) in MODE_FREE and not is_altered(module) and not getattr(module, "dropout", 0.0)
        for module in policy.modules()
    )


def _size(observations: PyTorchObs) -> int:
    return sum(map(_size, observations.values())) if isinstance(observations, dict) else observations.numel()


def _rows(observations: PyTorchObs, index: np.ndarray) -> PyTorchObs:
    if isinstance(observations, dict):
        return {key: values[index] for key, values in observations.items()}
    return observations[index]
