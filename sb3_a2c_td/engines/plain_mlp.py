"""What makes a policy a plain MLP, whose layers an engine may compute by itself."""

import itertools
import operator
from collections.abc import Iterator
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from sb3_a2c_td.policies import MlpPolicy, SeparateActorCriticPolicy

REPLACEABLE = ("extract_features", "get_distribution", "predict_values", "_get_action_dist_from_latent")
"""methods of a policy that a user may replace on the object"""


class PlainMlp:
    """The dense layers of a policy that consists of nothing else, as they are now.

    Its modules are read through ``nn.Module``'s dicts, since its attributes are many times slower.

    :param policy: a policy that :func:`why_not_plain` has nothing against
    """

    def __init__(self, policy: SeparateActorCriticPolicy) -> None:
        assert why_not_plain(policy) is None
        self.continuous = isinstance(policy.action_dist, DiagGaussianDistribution)
        self.use_tanh = any(isinstance(module, nn.Tanh) for module in policy.mlp_extractor.modules())
        self._policy = policy
        self._modules = _modules(policy)
        self._hooks = [hooks for module in policy.modules() for hooks in _hooks(module)]
        self._actor_dicts = [module._parameters for module in (*_actor_modules(policy), policy)]
        self._critic_dicts = [module._parameters for module in _critic_modules(policy)]

    def is_current(self) -> bool:
        """Say whether the policy's layers are still the same modules, and no hook listens to them."""
        modules = _modules(self._policy)
        return (
            len(modules) == len(self._modules)
            and all(map(operator.is_, modules, self._modules))
            and not any(self._hooks)
            and not any(map(vars(self._policy).__contains__, REPLACEABLE))
        )

    def actor_parameters(self) -> list[th.Tensor]:
        """List weight ``(n_out, n_in)`` and bias ``(n_out,)`` of each layer, then log std if actions are continuous."""
        return [param for parameters in self._actor_dicts for param in parameters.values() if param is not None]

    def critic_parameters(self) -> list[th.Tensor]:
        """List weight ``(n_out, n_in)`` and bias ``(n_out,)`` of each layer."""
        return [param for parameters in self._critic_dicts for param in parameters.values() if param is not None]


def why_not_plain(policy: SeparateActorCriticPolicy) -> str | None:
    """Say why a policy is no plain MLP; ``None`` if it is.

    It is an ``MlpPolicy`` on vectors, with ReLU or tanh, and categorical or diagonal Gaussian actions.
    """
    return next(_reasons_against(policy), None)


def _modules(policy: SeparateActorCriticPolicy) -> list[Any]:
    return _actor_modules(policy) + _critic_modules(policy)


def _actor_modules(policy: SeparateActorCriticPolicy) -> list[Any]:
    modules: dict[str, Any] = policy._modules
    return [*modules["mlp_extractor"]._modules["policy_net"]._modules.values(), modules["action_net"]]


def _critic_modules(policy: SeparateActorCriticPolicy) -> list[Any]:
    modules: dict[str, Any] = policy._modules
    return [*modules["mlp_extractor"]._modules["value_net"]._modules.values(), modules["value_net"]]


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
    for modules in (_actor_modules(policy), _critic_modules(policy)):
        activations |= {type(module) for module in modules[1::2]}
        layers = modules[::2]
        if any(type(layer) is not nn.Linear or layer.bias is None for layer in layers):
            yield "a layer is not nn.Linear with a bias"
        elif any(layer.in_features != below.out_features for below, layer in itertools.pairwise(layers)):
            yield "the widths of its layers do not match"
    if len(activations) > 1 or not activations <= {nn.ReLU, nn.Tanh}:
        yield f"the activation is {', '.join(sorted(kind.__name__ for kind in activations))}, not ReLU or Tanh"
    if any(any(_hooks(module)) for module in policy.modules()):
        yield "a hook is registered on one of its modules"
    if any(map(vars(policy).__contains__, REPLACEABLE)):
        yield "one of its methods is replaced"
