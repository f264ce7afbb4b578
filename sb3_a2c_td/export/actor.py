"""The deterministic actor of a model, with all that happens to observations before it and to actions behind it."""

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
from sb3_a2c_td.export.normalization import OBSERVATION, Normalization, spaces_by_key
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations


@dataclass(frozen=True)
class Architecture:
    """What an actor's networks are made of, in the words of ``policy_kwargs``.

    :param features_extractor_class: features extractor
    :param features_extractor_kwargs: its arguments
    :param net_arch: the sizes of the hidden layers
    :param activation_fn: activation function
    :param normalize_images: whether images are divided by 255
    :param squash_output: whether the actions go through tanh and are then brought from [-1, 1] to their bounds
    """

    features_extractor_class: type[BaseFeaturesExtractor]
    features_extractor_kwargs: dict[str, Any]
    net_arch: list[int]
    activation_fn: type[nn.Module]
    normalize_images: bool
    squash_output: bool


class Actor(nn.Module):
    """Gives the actions of ``model.predict(observations, deterministic=True)``, as one network without branches.

    :param observation_space: the model's observation space
    :param action_space: the model's action space
    :param architecture: what its networks are made of
    :param features_extractor: the actor's features extractor
    :param policy_net: the hidden layers
    :param action_net: the last layer
    :param normalization: what ``VecNormalize`` did to the observations that the model was trained on
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
        self.mean, self.var = nn.ParameterDict(), nn.ParameterDict()
        if normalization is not None:
            for statistics, arrays in ((self.mean, normalization.mean), (self.var, normalization.var)):
                for key, array in arrays.items():
                    statistics[key] = nn.Parameter(th.as_tensor(array), requires_grad=False)
        if isinstance(action_space, spaces.Box):
            # numpy's, when it clips the network's numbers
            dtype = np.result_type(np.float32, action_space.dtype)
            for name in ("low", "high"):
                bound = th.as_tensor(getattr(action_space, name).astype(dtype))
                self.register_buffer(name, bound, persistent=False)
        self.eval()

    @property
    def inputs(self) -> dict[str, spaces.Space[Any]]:
        """The spaces of what goes in, by name: the keys of dict observations, or "observation"."""
        return spaces_by_key(self.observation_space)

    def forward(self, *observations: th.Tensor) -> th.Tensor:
        """Give the actions, as numpy would hold them: ``(n, *action_shape)``.

        :param observations: ``(n, *observation_shape)``, of the space's dtype; of dicts one for each of ``inputs``
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


def actor_of(policy: SeparateActorCriticPolicy, normalization: Normalization | None = None) -> Actor:
    """Copy the actor of a policy.

    :param policy: the policy, on the CPU
    :param normalization: what ``VecNormalize`` did to its observations
    :raises ExportError: if its networks are others than SB3's, or the normalisation is of other observations
    """
    if not isinstance(policy.mlp_extractor, MlpExtractor):
        raise ExportError(
            f"the mlp_extractor of {type(policy).__name__} is a {type(policy.mlp_extractor).__name__}: only the "
            "hidden layers that SB3's MlpExtractor makes of net_arch can be exported"
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
    parts = policy.pi_features_extractor, policy.mlp_extractor.policy_net, policy.action_net
    features_extractor, policy_net, action_net = map(deepcopy, parts)
    actor = Actor(
        policy.observation_space,
        policy.action_space,
        architecture,
        features_extractor,
        policy_net,
        action_net,
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
                f"the normalisation is of other observations than the model's: of {name!r} with shape {mean.shape}, "
                f"the model's are {shapes}"
            )


def inputs_of(observations: Observations) -> list[np.ndarray]:
    """List what goes into an actor's inputs.

    :param observations: ``(n, *observation_shape)``, or a dict of such arrays
    """
    return list(observations.values()) if isinstance(observations, dict) else [observations]
