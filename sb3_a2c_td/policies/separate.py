"""Stable-Baselines3's actor-critic policies with separate networks for actor and critic."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import create_empty_array
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_a2c_td.arguments import check_class
from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies.policy_arguments import (
    check_activation,
    check_image_sizes,
    check_methods,
    check_net_arch,
    check_optimizer_kwargs,
)
from sb3_a2c_td.policies.threads import n_rows, one_thread_if_small

NETWORKS = ("actor", "critic")
"""names of the optimizer's parameter groups"""


class SeparateNetworks(BasePolicy):
    """Mixin that gives an actor-critic policy separate networks and one optimizer with two parameter groups.

    The groups ``"actor"`` and ``"critic"`` have a learning rate each. For optimizers that treat every parameter
    independently (Adam, RMSprop, SGD, ...), this equals two optimizers. The defaults are the reference settings:
    ``obs -> 32 -> 16 -> actions`` and ``obs -> 32 -> 16 -> 16 -> 1``, ReLU, Glorot-uniform weights, zero biases, and
    Adam in Keras's form.

    Put it before the policy class: ``class MyPolicy(SeparateNetworks, ActorCriticPolicy)``.

    :param observation_space: observation space
    :param action_space: action space
    :param lr_schedule: the actor's learning rate; :class:`~sb3_a2c_td.TDA2C` sets the critic's
    :param net_arch: hidden layers, as in SB3: ``[64, 64]`` or ``dict(pi=[32, 16], vf=[32, 16, 16])``
    :param activation_fn: activation function
    :param ortho_init: whether to use SB3's orthogonal initialization. Otherwise the layers after the features
        extractors are initialized as in Keras (Glorot-uniform weights, zero biases), and the extractors keep their own
        weights, as does what a subclass builds in place of SB3's ``mlp_extractor``
    :param features_extractor_class: features extractor; actor and critic get one each
    :param share_features_extractor: must be ``False``
    :param optimizer_class: optimizer
    :param kwargs: further arguments of the policy
    :raises ValueError: if an argument is invalid, if images are too small for SB3's CNN, if actor and critic share a
        features extractor or any other parameter, or if the class replaces ``forward``, ``evaluate_actions`` or
        ``extract_features``
    """

    action_dist: Any
    mlp_extractor: MlpExtractor
    action_net: nn.Module
    value_net: nn.Linear
    pi_features_extractor: BaseFeaturesExtractor
    vf_features_extractor: BaseFeaturesExtractor
    share_features_extractor: bool
    ortho_init: bool

    if TYPE_CHECKING:

        def get_distribution(self, *inputs: Any, **kwargs: Any) -> Any: ...  # noqa: D102
        def predict_values(self, *inputs: Any, **kwargs: Any) -> th.Tensor: ...  # noqa: D102

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        ortho_init: bool = False,
        *,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        share_features_extractor: bool = False,
        optimizer_class: type[th.optim.Optimizer] = AdamTFLike,
        **kwargs: Any,
    ) -> None:
        if share_features_extractor:
            raise ValueError(
                f"share_features_extractor={share_features_extractor}: the actor and the critic must not share a "
                "features extractor, since each is trained on its own loss with its own learning rate; "
                "omit the argument"
            )
        check_methods(type(self))
        check_class("features_extractor_class", features_extractor_class, "NatureCNN")
        check_class("optimizer_class", optimizer_class, "torch.optim.Adam")
        check_optimizer_kwargs(optimizer_class, kwargs.get("optimizer_kwargs"))
        if net_arch is None and features_extractor_class is not NatureCNN:
            net_arch = {"pi": [32, 16], "vf": [32, 16, 16]}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=net_arch,
            activation_fn=activation_fn,
            ortho_init=ortho_init,
            features_extractor_class=features_extractor_class,
            share_features_extractor=False,
            optimizer_class=optimizer_class,
            **kwargs,
        )
        if not self.ortho_init:
            for module in self._modules_like_keras():
                module.apply(_init_like_keras)
        actor, critic = self._split_parameters()
        self.optimizer = self.optimizer_class(
            [{"params": actor, "name": "actor"}, {"params": critic, "name": "critic"}],
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Make a features extractor, after checking that images are large enough for SB3's CNN.

        :return: the extractor
        :raises ValueError: if they are not
        """
        check_image_sizes(self.features_extractor_class, self.observation_space, self.normalize_images)
        return super().make_features_extractor()

    def _build_mlp_extractor(self) -> None:
        check_activation(self.activation_fn)
        check_net_arch(self.net_arch)
        super()._build_mlp_extractor()  # type: ignore[misc]

    def _split_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Split the parameters into the actor's and the critic's by the outputs that depend on them, not by name.

        :return: the actor's parameters, and the critic's: those that the value depends on
        :raises ValueError: if both outputs depend on a parameter
        """
        names, parameters = zip(*self.named_parameters(), strict=True)
        with self._differentiable():
            observation, _ = self.obs_to_tensor(create_empty_array(self.observation_space, fn=np.zeros))  # type: ignore[arg-type]
            distribution, value = self._distribution_and_value(observation)
            log_prob = distribution.log_prob(distribution.mode().detach())
            in_actor, in_critic = (
                [grad is not None for grad in th.autograd.grad(output.sum(), parameters, allow_unused=True)]
                for output in (log_prob, value)
            )
            with th.no_grad():
                # SB3 keeps the last distribution; one with an autograd graph could not be deep-copied
                self._distribution_and_value(observation)

        shared = [
            name
            for name, is_actors, is_critics in zip(names, in_actor, in_critic, strict=True)
            if is_actors and is_critics
        ]
        if shared:
            raise ValueError(
                f"{type(self).__name__}: the actor and the critic must not share parameters, since each is trained on "
                f"its own loss with its own learning rate; build separate layers for: {', '.join(shared)}"
            )
        actor = [param for param, is_critics in zip(parameters, in_critic, strict=True) if not is_critics]
        critic = [param for param, is_critics in zip(parameters, in_critic, strict=True) if is_critics]
        return actor, critic

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        """Put the policy into evaluation mode, with gradients for frozen parameters, too, while the context lasts."""
        frozen = [param for param in self.parameters() if not param.requires_grad]
        was_training = self.training
        self.requires_grad_(True).eval()
        try:
            yield
        finally:
            self.train(was_training)
            for param in frozen:
                param.requires_grad_(False)

    def _distribution_and_value(self, observation: PyTorchObs) -> tuple[Distribution, th.Tensor]:
        return self.get_distribution(observation), self.predict_values(observation)

    def _predict(self, observation: PyTorchObs, *args: Any, **kwargs: Any) -> Any:
        with one_thread_if_small(self, n_rows(observation)):
            return super()._predict(observation, *args, **kwargs)  # type: ignore[safe-super]

    def _modules_like_keras(self) -> list[nn.Module]:
        # layers that a subclass builds keep their own weights
        own = [self.mlp_extractor] if type(self.mlp_extractor) is MlpExtractor else []
        return [*own, self.action_net, self.value_net]

    def split_groups(self) -> None:
        """Name the parameter groups of an optimizer that replaced the policy's own, and split those of both networks.

        Each group is then called ``"actor"`` or ``"critic"``, and keeps its settings. Groups that have these names
        already stay as they are.
        """
        groups = self.optimizer.param_groups
        if all(group.get("name") in NETWORKS for group in groups):
            return
        critic = set(map(id, self._split_parameters()[1]))
        split = []
        for group in groups:
            for name in NETWORKS:
                params = [param for param in group["params"] if (id(param) in critic) == (name == "critic")]
                if params:
                    split.append({**group, "params": params, "name": name})
        # in place, for those who keep the list
        groups[:] = split

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the optimizer's groups ``"actor"``: all that the value does not depend on."""
        return self._parameters_of("actor")

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the optimizer's groups ``"critic"``: those that the value depends on."""
        return self._parameters_of("critic")

    def _parameters_of(self, network: str) -> list[nn.Parameter]:
        self.split_groups()
        return [param for group in self.optimizer.param_groups if group["name"] == network for param in group["params"]]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        # SB3 omits this argument, so load() would fall back to a shared extractor
        return {**super()._get_constructor_parameters(), "share_features_extractor": self.share_features_extractor}


def _init_like_keras(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LSTM):
        for layer in module._flat_weights_names:
            _init_lstm_like_keras(layer, getattr(module, layer))


def _init_lstm_like_keras(name: str, weight: th.Tensor) -> None:
    """Initialize an array of an LSTM. PyTorch stacks the four gates along the first axis, the forget gate second."""
    if name.startswith("weight_ih"):
        nn.init.xavier_uniform_(weight)
    elif name.startswith("weight_hh"):
        nn.init.orthogonal_(weight)
    else:
        nn.init.zeros_(weight)
        if name.startswith("bias_ih"):
            # PyTorch adds two biases; Keras has one, with 1 for the forget gate
            nn.init.ones_(weight.chunk(4)[1])


class SeparateCnns(SeparateNetworks):
    """Mixin with a ``NatureCNN`` each for actor and critic, initialized as in SB3's ``CnnPolicy``.

    The reference has no network for images. As in SB3, no hidden layers follow the CNN, and weights are orthogonal.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        ortho_init: bool = True,
        *,
        features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            activation_fn,
            ortho_init,
            features_extractor_class=features_extractor_class,
            **kwargs,
        )


class SeparateCombinedNetworks(SeparateNetworks):
    """Mixin for dict observations, with a ``CombinedExtractor`` before each of the reference's networks."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = CombinedExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            *args,
            features_extractor_class=features_extractor_class,
            **kwargs,
        )


class SeparateActorCriticPolicy(SeparateNetworks, ActorCriticPolicy):
    """SB3's ``ActorCriticPolicy`` with :class:`SeparateNetworks`.

    It takes the arguments of :class:`SeparateNetworks`, and ``use_sde``, ``log_std_init``, ``full_std``, ``use_expln``,
    ``squash_output``, ``features_extractor_kwargs``, ``normalize_images`` and ``optimizer_kwargs`` as in SB3. To make
    your own policy separate, write ``class MyPolicy(SeparateActorCriticPolicy, YourPolicy)``.
    """


class MlpPolicy(SeparateActorCriticPolicy):
    """Policy with the reference's networks, for vectors; other observations are flattened to a vector."""


class CnnPolicy(SeparateCnns, SeparateActorCriticPolicy, ActorCriticCnnPolicy):
    """Policy for images, see :class:`SeparateCnns`."""


class MultiInputPolicy(SeparateCombinedNetworks, SeparateActorCriticPolicy, MultiInputActorCriticPolicy):
    """Policy for dict observations, see :class:`SeparateCombinedNetworks`."""
