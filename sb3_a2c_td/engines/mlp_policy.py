"""Plain MLP policies, whose layers an engine can compute by itself."""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from sb3_a2c_td.engines.change_detection import is_altered
from sb3_a2c_td.policies.maskable import MaskableMlpPolicy
from sb3_a2c_td.policies.separate import MlpPolicy, SeparateNetworks

PLAIN_MLPS = {
    MlpPolicy: (CategoricalDistribution, DiagGaussianDistribution),
    MaskableMlpPolicy: (MaskableCategoricalDistribution,),
}
"""policies, and the action distributions that they may have"""


class PlainMlp:
    """The dense layers of a policy that consists of nothing else.

    :param policy: a policy for which :func:`unsupported_policy_reason` returns ``None``
    """

    actor: list[nn.Parameter]
    """weight ``(n_out, n_in)`` and bias ``(n_out,)`` of each layer, then log std if actions are continuous"""
    critic: list[nn.Parameter]
    """weight ``(n_out, n_in)`` and bias ``(n_out,)`` of each layer"""
    actor_modules: list[nn.Module]
    """modules that the actor's outputs depend on"""
    critic_modules: list[nn.Module]
    """modules that the critic's output depends on"""

    def __init__(self, policy: SeparateNetworks) -> None:
        assert unsupported_policy_reason(policy) is None
        self.continuous = isinstance(policy.action_dist, DiagGaussianDistribution)
        self.use_tanh = any(isinstance(module, nn.Tanh) for module in policy.mlp_extractor.modules())
        actor_layers, critic_layers = _actor_layers(policy), _critic_layers(policy)
        self.actor = [param for layer in actor_layers for param in layer.parameters()]
        if self.continuous:
            self.actor.append(cast(nn.Parameter, policy.log_std))
        self.critic = [param for layer in critic_layers for param in layer.parameters()]
        mlp = policy.mlp_extractor
        self.actor_modules = [policy, mlp, mlp.policy_net, *actor_layers, *policy.pi_features_extractor.modules()]
        self.critic_modules = [policy, mlp, mlp.value_net, *critic_layers, *policy.vf_features_extractor.modules()]


def unsupported_policy_reason(policy: SeparateNetworks) -> str | None:
    """Return why a policy is no plain MLP; ``None`` if it is one.

    A plain MLP is an ``MlpPolicy`` or ``MaskableMlpPolicy`` on vectors, with ReLU or tanh, and categorical or diagonal
    Gaussian actions.
    """
    return next(_unsupported_reasons(policy), None)


def _actor_layers(policy: SeparateNetworks) -> list[nn.Module]:
    return [*policy.mlp_extractor.policy_net, policy.action_net]


def _critic_layers(policy: SeparateNetworks) -> list[nn.Module]:
    return [*policy.mlp_extractor.value_net, policy.value_net]


def _unsupported_reasons(policy: SeparateNetworks) -> Iterator[str]:
    space = policy.observation_space
    if type(policy) not in PLAIN_MLPS:
        yield f"the policy is a {type(policy).__name__}, not a MlpPolicy"
    if not isinstance(space, spaces.Box) or is_image_space(space):
        yield f"the observations are {space}, not a Box of numbers"
    if type(policy.action_dist) not in PLAIN_MLPS.get(type(policy), ()):
        yield f"the distribution is {type(policy.action_dist).__name__}, not categorical or diagonal Gaussian"
    for extractor in (policy.pi_features_extractor, policy.vf_features_extractor):
        if type(extractor) is not FlattenExtractor:
            yield f"a features extractor is {type(extractor).__name__}, not FlattenExtractor"
    if type(policy.mlp_extractor) is not MlpExtractor:
        yield f"the mlp_extractor is {type(policy.mlp_extractor).__name__}, not SB3's MlpExtractor"
    activations = set()
    for modules in (_actor_layers(policy), _critic_layers(policy)):
        activations |= {type(module) for module in modules[1::2]}
        layers = modules[::2]
        if any(type(layer) is not nn.Linear or layer.bias is None for layer in layers):
            yield "a layer is not nn.Linear with a bias"
        elif any(layer.in_features != below.out_features for below, layer in pairwise(layers)):
            yield "the widths of its layers do not match"
    if len(activations) > 1 or not activations <= {nn.ReLU, nn.Tanh}:
        yield f"the activation is {', '.join(sorted(kind.__name__ for kind in activations))}, not ReLU or Tanh"
    if any(map(is_altered, policy.modules())):
        yield "one of its modules has a hook, or a method that was replaced"
