"""What makes a policy a plain MLP, whose layers an engine may compute by itself."""

import operator
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, MlpExtractor
from torch import nn

from sb3_a2c_td.policies import MlpPolicy, SeparateActorCriticPolicy

REPLACEABLE = ("extract_features", "get_distribution", "predict_values", "_get_action_dist_from_latent")
"""methods of a policy that a user may replace on the object"""


class PlainMlp:
    """The dense layers of a policy that consists of nothing else, as they were when this was made.

    :param policy: a policy that :func:`why_not_plain` has nothing against
    """

    def __init__(self, policy: SeparateActorCriticPolicy) -> None:
        assert why_not_plain(policy) is None
        self.continuous = isinstance(policy.action_dist, DiagGaussianDistribution)
        self.use_tanh = any(isinstance(module, nn.Tanh) for module in policy.mlp_extractor.modules())
        self.actor = PlainNetwork(policy, "policy_net", "action_net", policy.pi_features_extractor)
        self.critic = PlainNetwork(policy, "value_net", "value_net", policy.vf_features_extractor)


class PlainNetwork:
    """The actor or the critic of a :class:`PlainMlp`.

    Whether it is still what the policy computes is asked at every step, and answered from the dicts in which
    ``nn.Module`` keeps its parts: its attributes are many times slower.

    :param policy: the policy
    :param body: name of the hidden layers in the policy's ``mlp_extractor``
    :param head: name of the last layer in the policy
    :param features_extractor: what comes before the layers
    """

    parameters: list[th.Tensor]
    """weight ``(n_out, n_in)`` and bias ``(n_out,)`` of each layer; then the actor's log std if actions are continuous
    """

    def __init__(
        self, policy: SeparateActorCriticPolicy, body: str, head: str, features_extractor: BaseFeaturesExtractor
    ) -> None:
        layers = _layers(policy, body, head)
        holders: list[Any] = [layer._parameters for layer in layers[::2]]
        if head == "action_net":
            holders.append(policy._parameters)
        self.parameters = [param for holder in holders for param in holder.values() if param is not None]
        extractor: Any = policy._modules["mlp_extractor"]
        holders += [policy._modules, extractor._modules, extractor._modules[body]._modules]
        self._live_parts = [holder.values() for holder in holders]
        self._parts = list(chain.from_iterable(self._live_parts))
        called = [*layers, extractor._modules[body], *features_extractor.modules()]
        self._hooks = [hooks for module in called for hooks in _hooks(module)]
        self._methods = vars(policy)

    def is_current(self) -> bool:
        """Say whether the policy still has these layers and parameters, with no hook and no method in their way."""
        return (
            are_same(list(chain.from_iterable(self._live_parts)), self._parts)
            and not any(self._hooks)
            and not any(map(self._methods.__contains__, REPLACEABLE))
        )


def are_same(objects: list[Any], others: list[Any]) -> bool:
    """Say whether two lists hold the same objects, in the same order."""
    return len(objects) == len(others) and all(map(operator.is_, objects, others))


def why_not_plain(policy: SeparateActorCriticPolicy) -> str | None:
    """Say why a policy is no plain MLP; ``None`` if it is.

    It is an ``MlpPolicy`` on vectors, with ReLU or tanh, and categorical or diagonal Gaussian actions.
    """
    return next(_reasons_against(policy), None)


def _layers(policy: SeparateActorCriticPolicy, body: str, head: str) -> list[Any]:
    """List a network's modules: dense layers, and activations between them."""
    return [*getattr(policy.mlp_extractor, body), getattr(policy, head)]


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def _reasons_against(policy: SeparateActorCriticPolicy) -> Iterator[str]:
    space = policy.observation_space
    if type(policy) is not MlpPolicy:
        yield f"the policy is a {type(policy).__name__}, not a MlpPolicy"
    if not isinstance(space, spaces.Box) or is_image_space(space):
        yield f"the observations are {space}, not a Box of numbers"
    if type(policy.action_dist) not in (CategoricalDistribution, DiagGaussianDistribution):
        yield f"the distribution is {type(policy.action_dist).__name__}, not categorical or diagonal Gaussian"
    for extractor in (policy.pi_features_extractor, policy.vf_features_extractor):
        if type(extractor) is not FlattenExtractor:
            yield f"a features extractor is {type(extractor).__name__}, not FlattenExtractor"
    if type(policy.mlp_extractor) is not MlpExtractor:
        yield f"the mlp_extractor is {type(policy.mlp_extractor).__name__}, not SB3's MlpExtractor"
    activations = set()
    for modules in (_layers(policy, "policy_net", "action_net"), _layers(policy, "value_net", "value_net")):
        activations |= {type(module) for module in modules[1::2]}
        layers = modules[::2]
        if any(type(layer) is not nn.Linear or layer.bias is None for layer in layers):
            yield "a layer is not nn.Linear with a bias"
        elif any(layer.in_features != below.out_features for below, layer in pairwise(layers)):
            yield "the widths of its layers do not match"
    if len(activations) > 1 or not activations <= {nn.ReLU, nn.Tanh}:
        yield f"the activation is {', '.join(sorted(kind.__name__ for kind in activations))}, not ReLU or Tanh"
    if any(any(_hooks(module)) for module in policy.modules()):
        yield "a hook is registered on one of its modules"
    if any(map(vars(policy).__contains__, REPLACEABLE)):
        yield "one of its methods is replaced"
