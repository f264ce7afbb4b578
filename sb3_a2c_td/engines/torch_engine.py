"""The reference: every policy, on every device, through SB3's own interface to it."""

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import explained_variance, obs_as_tensor

from sb3_a2c_td import functional
from sb3_a2c_td.buffers import Observations, TransitionBuffer, Transitions
from sb3_a2c_td.engines.interface import Objective, Update
from sb3_a2c_td.policies import SeparateActorCriticPolicy


class TorchEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    :param policy: the policy to act for and to update
    """

    def __init__(self, policy: SeparateActorCriticPolicy) -> None:
        self.policy = policy

    def act(self, observations: Observations) -> np.ndarray:
        """Draw actions from the policy's distribution."""
        with th.no_grad():
            distribution = self._distribution(obs_as_tensor(observations, self.policy.device))
            actions: np.ndarray = distribution.get_actions().cpu().numpy()
        return actions.reshape(-1, *self.policy.action_space.shape)  # type: ignore[misc]

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer."""
        batch = buffer.tensors(self.policy.device)
        if self.policy.training:
            self.policy.set_training_mode(False)
        targets, advantages, values = self.targets_and_advantages(batch, objective)
        # a batch of one has no statistics: layers like BatchNorm then use their running ones
        self.policy.set_training_mode(len(targets) > 1)
        actor_loss, critic_loss, entropy_loss = self.losses(batch, targets, advantages, objective)
        loss = actor_loss + critic_loss + objective.ent_coef * entropy_loss
        grad_norm = self._descend(loss, objective.max_grad_norm)
        targets_, values_ = targets.cpu().numpy(), values.cpu().numpy()
        with np.errstate(all="ignore"):
            explained = explained_variance(values_, targets_)
        return Update(
            targets_,
            values_,
            actor_loss.item(),
            critic_loss.item(),
            entropy_loss.item(),
            grad_norm.item(),
            advantages.mean().item(),
            advantages.std(correction=0).item(),
            explained,
        )

    @th.no_grad()
    def targets_and_advantages(
        self, batch: Transitions[th.Tensor], objective: Objective
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute y, A and V(s), each ``(N,)``, with the critic as it stands; it sees ``[s; s']`` in one pass."""
        ended = batch.terminated if objective.bootstrap_on_truncation else batch.terminated | batch.truncated
        both = _concatenated(batch.observations, batch.next_observations)
        values, next_values = self.policy.predict_values(both).squeeze(1).chunk(2)
        discount = functional.discounts(ended, objective.gamma)
        targets = functional.td_target(objective.reward_scale * batch.rewards, discount, next_values)
        return targets, functional.td_error(targets, values), values

    def losses(
        self, batch: Transitions[th.Tensor], targets: th.Tensor, advantages: th.Tensor, objective: Objective
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Compute the actor's loss, the critic's and the entropy's, each a scalar."""
        log_prob, entropy = self._log_prob_and_entropy(batch, objective.double_softmax)
        values = self.policy.predict_values(batch.observations).squeeze(1)
        if objective.normalize_advantage:
            advantages = functional.normalized(advantages)
        return functional.actor_loss(log_prob, advantages), functional.critic_loss(values, targets), -entropy.mean()

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
            raise ValueError("the policy gives no valid distribution of actions, training diverged") from error

    def _descend(self, loss: th.Tensor, max_grad_norm: float | None) -> th.Tensor:
        """Take one step down the sum of the losses, which share no parameter; give the gradient's norm."""
        self.policy.optimizer.zero_grad()
        loss.backward()
        grad_norm = th.nn.utils.clip_grad_norm_(self.policy.parameters(), max_grad_norm or th.inf)
        if th.isfinite(loss) and th.isfinite(grad_norm):
            self.policy.optimizer.step()
        return grad_norm


def _concatenated(first: PyTorchObs, second: PyTorchObs) -> PyTorchObs:
    if isinstance(first, dict):
        assert isinstance(second, dict)
        return {key: th.cat([first[key], second[key]]) for key in first}
    assert isinstance(second, th.Tensor)
    return th.cat([first, second])
