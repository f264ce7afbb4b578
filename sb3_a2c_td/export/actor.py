"""The deterministic actor of a model, together with the preprocessing of observations and the bounds of actions."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import nn

from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations, named_arrays
from sb3_a2c_td.vec_env.normalization import OBSERVATION, Normalization, spaces_by_key


@dataclass(frozen=True)
class Architecture:
    """The architecture of an actor's networks, with the names of ``policy_kwargs``.

    :param features_extractor_class: class of the features extractor
    :param features_extractor_kwargs: its arguments
    :param net_arch: sizes of the hidden layers
    :param activation_fn: class of the activation function
    :param normalize_images: divide images by 255
    :param squash_output: squash the actions with tanh, then scale them from [-1, 1] to their bounds
    """

    features_extractor_class: type[BaseFeaturesExtractor]
    features_extractor_kwargs: dict[str, Any]
    net_arch: list[int]
    activation_fn: type[nn.Module]
    normalize_images: bool
    squash_output: bool


class Actor(nn.Module):
    """Computes ``model.predict(observations, deterministic=True)`` as one network without branches.

    :param observation_space: the model's observation space
    :param action_space: the model's action space
    :param architecture: the architecture of its networks
    :param features_extractor: the actor's features extractor
    :param policy_net: the hidden layers
    :param action_net: the last layer
    :param normalization: the statistics of the ``VecNormalize`` that the model was trained with
    """

    low: th.Tensor
    high: th.Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        architecture: Architecture,
        features_extractor: nn.Module,
        policy_net: nn.Module,
        action_net: nn.Module,
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__()
        self.observation_space = observation_space
        self.action_space = action_space
        self.features_extractor = features_extractor
        self.policy_net = policy_net
        self.action_net = action_net
        self.architecture = architecture
        self.normalization = normalization
        self.mean = _parameters({} if normalization is None else normalization.mean)
        self.var = _parameters({} if normalization is None else normalization.var)
        if isinstance(action_space, spaces.Box):
            # the dtype in which numpy clips the network's float32 outputs
            dtype = np.result_type(np.float32, action_space.dtype)
            self.register_buffer("low", th.as_tensor(action_space.low.astype(dtype)), persistent=False)
            self.register_buffer("high", th.as_tensor(action_space.high.astype(dtype)), persistent=False)
        self.eval()

    @property
    def inputs(self) -> dict[str, spaces.Space[Any]]:
        """The spaces of the inputs by name: the keys of dict observations, or "observation"."""
        return spaces_by_key(self.observation_space)

    def forward(self, *observations: th.Tensor) -> th.Tensor:
        """Compute the actions.

        :param observations: ``(n, *observation_shape)`` of the space's dtype, one for each of ``inputs``
        :return: ``(n, *action_shape)``, of the dtype that ``predict`` returns
        """
        named = {
            name: self._normalized(name, observation)
            for name, observation in zip(self.inputs, observations, strict=True)
        }
        is_dict = isinstance(self.observation_space, spaces.Dict)
        features = preprocess_obs(
            named if is_dict else named[OBSERVATION],
            self.observation_space,
            normalize_images=self.architecture.normalize_images,
        )
        return self._actions(self.action_net(self.policy_net(self.features_extractor(features))))

    def _normalized(self, name: str, observation: th.Tensor) -> th.Tensor:
        if self.normalization is None or name not in self.mean:
            return observation
        scaled = (observation.double() - self.mean[name]) / th.sqrt(self.var[name] + self.normalization.epsilon)
        clipped: th.Tensor = scaled.clamp(-self.normalization.clip_obs, self.normalization.clip_obs)
        return clipped.float()

    def _actions(self, output: th.Tensor) -> th.Tensor:
        match self.action_space:
            case spaces.Discrete():
                return output.argmax(dim=1)
            case spaces.MultiDiscrete():
                parts = output.split(self.action_space.nvec.tolist(), dim=1)
                return th.stack([part.argmax(dim=1) for part in parts], dim=1)
            case spaces.MultiBinary():
                return th.round(th.sigmoid(output))
        return self._bounded(output).reshape(-1, *self.action_space.shape)  # type: ignore[misc]

    def _bounded(self, mean: th.Tensor) -> th.Tensor:
        low, high = self.low.flatten(), self.high.flatten()
        if self.architecture.squash_output:
            return low + 0.5 * (th.tanh(mean).to(low.dtype) + 1.0) * (high - low)
        return th.maximum(th.minimum(mean.to(low.dtype), high), low)


def _parameters(arrays: dict[str, np.ndarray]) -> nn.ParameterDict:
    """Return constant parameters, which are saved with the networks."""
    parameters = nn.ParameterDict()
    for key, array in arrays.items():
        parameters[key] = nn.Parameter(th.as_tensor(array), requires_grad=False)
    return parameters


def actor_of(policy: SeparateActorCriticPolicy, normalization: Normalization | None = None) -> Actor:
    """Copy the actor of a policy.

    :param policy: the policy, on the CPU
    :param normalization: the statistics of the ``VecNormalize`` that it was trained with
    :raises ExportError: if its hidden layers are not SB3's, or the statistics do not fit its observations
    """
    if not isinstance(policy.mlp_extractor, MlpExtractor):
        raise ExportError(
            f"the mlp_extractor of {type(policy).__name__} is a {type(policy.mlp_extractor).__name__}: only the "
            "hidden layers of SB3's MlpExtractor can be exported"
        )
    net_arch = policy.net_arch.get("pi", []) if isinstance(policy.net_arch, dict) else policy.net_arch
    architecture = Architecture(
        policy.features_extractor_class,
        policy.features_extractor_kwargs,
        list(net_arch),
        policy.activation_fn,
        policy.normalize_images,
        policy.squash_output,
    )
    actor = Actor(
        policy.observation_space,
        policy.action_space,
        architecture,
        deepcopy(policy.pi_features_extractor),
        deepcopy(policy.mlp_extractor.policy_net),
        deepcopy(policy.action_net),
        normalization,
    )
    _check_normalization(actor)
    return actor


def _check_normalization(actor: Actor) -> None:
    if actor.normalization is None:
        return
    shapes = {name: space.shape for name, space in actor.inputs.items()}
    for name, mean in actor.normalization.mean.items():
        if shapes.get(name) != mean.shape:
            raise ExportError(
                f"the normalization does not fit the model's observations: it has statistics of shape {mean.shape} for "
                f"{name!r}, the observations have the shapes {shapes}"
            )


def inputs_of(observations: Observations) -> list[np.ndarray]:
    """Return the arrays for an actor's inputs, in their order.

    :param observations: ``(n, *observation_shape)``, or a dict of such arrays
    """
    return [array for _, array in named_arrays(OBSERVATION, observations)]
