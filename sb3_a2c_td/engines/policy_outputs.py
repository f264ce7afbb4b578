r"""What a policy computes for a batch: :math:`V(s)`, :math:`\pi(\cdot|s)`, :math:`\log \pi(a|s)` and the entropy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_a2c_td import losses
from sb3_a2c_td.engines.interface import DivergenceError
from sb3_a2c_td.policies.separate import SeparateNetworks


def state_values(policy: SeparateNetworks, observations: PyTorchObs) -> th.Tensor:
    """Compute :math:`V(s)`, ``(N,)``.

    :param policy: the policy
    :param observations: ``(N, *observation_shape)``, or a dict of such tensors
    """
    return policy.predict_values(observations).squeeze(1)


def action_distribution(policy: SeparateNetworks, observations: PyTorchObs, action_masks: Any = None) -> Distribution:
    r"""Compute :math:`\pi(\cdot|s)`.

    :param policy: the policy
    :param observations: ``(N, *observation_shape)``, or a dict of such tensors
    :param action_masks: which choices are allowed, bool ``(N, n_choices)``; ``None``: the policy takes no masks
    :raises DivergenceError: if the policy's outputs are not finite
    """
    with reporting_divergence():
        if action_masks is None:
            return policy.get_distribution(observations)  # type: ignore[no-any-return]
        return policy.get_distribution(observations, action_masks)  # type: ignore[no-any-return]


@contextmanager
def keeping_last_distribution(policy: SeparateNetworks) -> Iterator[None]:
    """Restore at the end what SB3 keeps of the last distribution.

    A distribution with an autograd graph cannot be deep-copied, and neither can the policy that keeps it.

    :param policy: the policy, which computes distributions in the context
    """
    before = dict(vars(policy.action_dist))
    try:
        yield
    finally:
        vars(policy.action_dist).update(before)


@contextmanager
def reporting_divergence() -> Iterator[None]:
    """Raise a :class:`DivergenceError` where PyTorch refuses the parameters of a distribution; other errors pass."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith("Expected parameter"):
            raise DivergenceError from error
        raise


def log_prob_and_entropy(
    policy: SeparateNetworks, distribution: Distribution, actions: th.Tensor, double_softmax: bool
) -> tuple[th.Tensor, th.Tensor]:
    r"""Compute :math:`\log \pi(a|s)` and the entropy of :math:`\pi(\cdot|s)`, each ``(N,)``.

    :param policy: the policy
    :param distribution: :math:`\pi(\cdot|s)`
    :param actions: :math:`a`, ``(N, *action_shape)``
    :param double_softmax: whether to return :func:`~sb3_a2c_td.losses.double_softmax_log_prob` in place of the former
    """
    if isinstance(policy.action_space, spaces.Box | spaces.MultiBinary):
        # (N, *action_shape) -> (N, action_dim)
        actions = actions.flatten(start_dim=1).float()
    log_prob = distribution.log_prob(actions)
    entropy = distribution.entropy()
    if entropy is None:
        # a squashed Gaussian has no closed form: SB3's estimate
        entropy = -log_prob
    if double_softmax:
        assert isinstance(distribution.distribution, th.distributions.Categorical)
        log_prob = losses.double_softmax_log_prob(distribution.distribution.logits, actions)
    return log_prob, entropy
