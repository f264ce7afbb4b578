"""The reference: the networks of any policy, through SB3's interface, with PyTorch's automatic differentiation."""

import math

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td import functional
from sb3_a2c_td.buffers import Observations, TransitionBuffer, Transitions
from sb3_a2c_td.engines.interface import Diverged, Objective, Update
from sb3_a2c_td.policies import SeparateActorCriticPolicy


class AnyNetworks:
    """What the torch engine does with a policy, in SB3's way.

    :param policy: the policy
    """

    def __init__(self, policy: SeparateActorCriticPolicy) -> None:
        self.policy = policy

    @th.no_grad()
    def draw(self, observations: Observations) -> np.ndarray:
        """Draw actions, ``(N, *action_shape)`` or with its axes flattened."""
        obs = obs_as_tensor(observations, self.policy.device)
        return self._distribution(obs).get_actions().cpu().numpy()

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions, unless the losses or their gradient are not finite."""
        batch = buffer.tensors(self.policy.device)
        self._set_training_mode(False)
        targets, advantages, values = self.targets_and_advantages(batch, objective)
        # a batch of one has no statistics: layers like BatchNorm then use their running ones
        self._set_training_mode(len(targets) > 1)
        actor_loss, critic_loss, entropy_loss = self.losses(batch, targets, advantages, objective)
        norm = self._descend(actor_loss + critic_loss + objective.ent_coef * entropy_loss, objective.max_grad_norm)
        variances, means = th.var_mean(th.stack([advantages, targets]), dim=1, correction=0)
        td_error_var, target_var = variances.tolist()
        return Update(
            targets.cpu().numpy(),
            values.cpu().numpy(),
            actor_loss.item(),
            critic_loss.item(),
            entropy_loss.item(),
            norm,
            td_error=means[0].item(),
            td_error_std=math.sqrt(td_error_var),
            explained_variance=math.nan if target_var == 0.0 else 1.0 - td_error_var / target_var,
        )

    def _set_training_mode(self, mode: bool) -> None:
        if self.policy.training != mode:
            self.policy.set_training_mode(mode)

    @th.no_grad()
    def targets_and_advantages(
        self, batch: Transitions[th.Tensor], objective: Objective
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute y, A and V(s), each ``(N,)``, with the critic as it stands; it sees ``[s; s']`` in one pass."""
        ended = batch.terminated if objective.bootstrap_on_truncation else batch.terminated | batch.truncated
        values, next_values = self._values(_concatenated(batch.observations, batch.next_observations)).chunk(2)
        discount = functional.discounts(ended, objective.gamma)
        targets = functional.td_target(objective.reward_scale * batch.rewards, discount, next_values)
        return targets, functional.td_error(targets, values), values

    def losses(
        self, batch: Transitions[th.Tensor], targets: th.Tensor, advantages: th.Tensor, objective: Objective
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute the actor's loss, the critic's and the entropy's, each a scalar."""
        log_prob, entropy = self._log_prob_and_entropy(batch, objective.double_softmax)
        values = self._values(batch.observations)
        if objective.normalize_advantage:
            advantages = functional.normalized(advantages)
        return functional.actor_loss(log_prob, advantages), functional.critic_loss(values, targets), -entropy.mean()

    def _values(self, observations: PyTorchObs) -> th.Tensor:
        return self.policy.predict_values(observations).squeeze(1)

    def _log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        distribution = self._distribution(batch.observations)
        actions = batch.actions
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
            log_prob = functional.double_softmax_log_prob(distribution.distribution.logits, actions)
        return log_prob, entropy

    def _distribution(self, observations: PyTorchObs) -> Distribution:
        try:
            return self.policy.get_distribution(observations)
        except ValueError as error:
            raise Diverged from error

    def _descend(self, loss: th.Tensor, max_grad_norm: float | None) -> float:
        """Take one step down the sum of the losses, which share no parameter; give the gradient's norm."""
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = th.nn.utils.clip_grad_norm_(self.policy.parameters(), max_grad_norm or math.inf)
        if th.isfinite(loss) and th.isfinite(norm):
            self.policy.optimizer.step()
        return norm.item()


def _concatenated(first: PyTorchObs, second: PyTorchObs) -> PyTorchObs:
    if isinstance(first, dict):
        assert isinstance(second, dict)
        return {key: th.cat([first[key], second[key]]) for key in first}
    assert isinstance(second, th.Tensor)
    return th.cat([first, second])
