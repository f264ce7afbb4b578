"""Detects replaced parts and new hooks of a policy or its optimizer.

It runs once a rollout, which may be one step long, so it reads the dicts in which PyTorch keeps the parts: attributes
of modules are many times slower.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter, contains, is_, itemgetter
from typing import Any

import torch as th
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from sb3_a2c_td.policies.separate import SeparateNetworks

REPLACEABLE: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Module: ("forward",),
    MlpExtractor: ("forward_actor", "forward_critic"),
    SeparateNetworks: (
        "get_distribution",
        "predict_values",
        "_get_action_dist_from_latent",
    ),
}
"""methods that a user may replace on an object, by its class"""

_PARAMS = itemgetter("params")
_MOMENTS = itemgetter("exp_avg", "exp_avg_sq", "step")
_MOMENTS_WITHOUT_STEP = itemgetter("exp_avg", "exp_avg_sq")
_BACKWARD_HOOKS = attrgetter("_backward_hooks")
_ACCUMULATE_HOOKS = attrgetter("_post_accumulate_grad_hooks")
_REQUIRES_GRAD = attrgetter("requires_grad")


class ModuleSnapshot:
    """The parts of a policy's modules at one moment.

    :param policy: the policy
    :param modules: those that its outputs depend on, the policy among them
    """

    def __init__(self, policy: SeparateNetworks, modules: Iterable[nn.Module]) -> None:
        modules = list(dict.fromkeys(modules))
        self._live_submodules = [module._modules.values() for module in modules if module._modules]
        self._submodules = list(chain.from_iterable(self._live_submodules))
        self._live_parameters = [module._parameters.values() for module in modules if module._parameters]
        self._parameters = list(chain.from_iterable(self._live_parameters))
        self._tensors = [param for param in self._parameters if param is not None]
        self._addresses = list(map(th.Tensor.data_ptr, self._tensors))
        self._hooks = [hooks for module in modules for hooks in module_hooks(module)]
        self._policy, self._distribution = policy, policy.action_dist
        methods = [(vars(module), method) for module in modules for method in _replaceable(module)]
        self._attributes, self._methods = zip(*methods, strict=True)

    def are_same(self) -> bool:
        """Check whether they still have the same submodules, and the same parameters in the same memory.

        No hook may have been added and no method replaced, and the policy must have the same distribution.
        """
        return (
            # modules are equal only to themselves; tensors are not so simple
            list(chain.from_iterable(self._live_submodules)) == self._submodules
            and _are_same(list(chain.from_iterable(self._live_parameters)), self._parameters)
            and list(map(th.Tensor.data_ptr, self._tensors)) == self._addresses
            and not any(self._hooks)
            and not any(map(contains, self._attributes, self._methods))
            and self._policy.action_dist is self._distribution
        )


class OptimizerSnapshot:
    """The parts of a policy's optimizer, ``AdamTFLike`` or PyTorch's ``Adam``, at one moment.

    :param policy: the policy
    :param counts_integers: whether it counts steps in integers, which change, or in tensors
    """

    def __init__(self, policy: SeparateNetworks, counts_integers: bool) -> None:
        self._policy, self._optimizer = policy, policy.optimizer
        self._state, self._states = self._optimizer.state, list(self._optimizer.state.values())
        self._moments = _MOMENTS_WITHOUT_STEP if counts_integers else _MOMENTS
        self._parts = self._live_parts()
        self._parameters = list(chain(*map(_PARAMS, self._optimizer.param_groups)))
        self._requires_grad = list(map(_REQUIRES_GRAD, self._parameters))

    def is_same(self) -> bool:
        """Check whether it still has the same parameters and moments, which get their gradients as before."""
        return (
            self._policy.optimizer is self._optimizer
            and self._optimizer.state is self._state
            and _are_same(self._live_parts(), self._parts)
            and list(map(_REQUIRES_GRAD, self._parameters)) == self._requires_grad
            and not any(map(_BACKWARD_HOOKS, self._parameters))
            and not any(map(_ACCUMULATE_HOOKS, self._parameters))
            and not is_customized(self._optimizer)
        )

    def _live_parts(self) -> list[Any]:
        groups = list(map(_PARAMS, self._optimizer.param_groups))
        return [*map(len, groups), *chain(*groups), *self._state.values(), *chain(*map(self._moments, self._states))]


def module_hooks(module: nn.Module) -> tuple[Any, ...]:
    """List the dicts of a module's hooks."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def is_altered(module: nn.Module) -> bool:
    """Check whether a module has hooks or replaced methods."""
    return any(module_hooks(module)) or not vars(module).keys().isdisjoint(_replaceable(module))


def _replaceable(module: nn.Module) -> list[str]:
    return [method for kind, methods in REPLACEABLE.items() if isinstance(module, kind) for method in methods]


def is_customized(optimizer: th.optim.Optimizer) -> bool:
    """Check whether an optimizer's ``step`` is patched or has hooks."""
    return "step" in vars(optimizer) or bool(
        optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    )


def unsupported_training_reasons(parameters: list[nn.Parameter], optimizer: th.optim.Optimizer) -> Iterator[str]:
    """Iterate over the reasons why an engine must leave gradients or optimizer steps to PyTorch.

    :param parameters: the policy's parameters
    :param optimizer: the policy's optimizer
    """
    for param in parameters:
        if param.dtype != th.float32:
            yield f"a parameter is {param.dtype}, not float32"
        if not param.requires_grad:
            yield "a parameter is frozen"
        if _BACKWARD_HOOKS(param) or _ACCUMULATE_HOOKS(param):
            yield "a hook is registered on a parameter"
    if len(set(map(id, parameters))) < len(parameters):
        yield "a parameter is used twice"
    if is_customized(optimizer):
        yield "the optimizer's step is patched or has hooks"
    for group in optimizer.param_groups:
        if len({int(optimizer.state.get(param, {}).get("step", 0)) for param in group["params"]}) > 1:
            yield "the optimizer has not taken equally many steps for all parameters of a group"


def _are_same(objects: list[Any], others: list[Any]) -> bool:
    return len(objects) == len(others) and all(map(is_, objects, others))
