"""sb3-contrib's LSTM policies, with separate actor and critic networks."""

from typing import Any

import torch as th
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentActorCriticPolicy,
    RecurrentMultiInputActorCriticPolicy,
)
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_a2c_td.policies.separate import SeparateCnns, SeparateCombinedNetworks, SeparateNetworks


class SeparateRecurrentPolicy(SeparateNetworks, RecurrentActorCriticPolicy):
    """sb3-contrib's ``RecurrentActorCriticPolicy`` with :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`.

    The actor and the critic each have an LSTM between their features extractor and their hidden layers. Derive your own
    policy as ``class MyPolicy(SeparateRecurrentPolicy, YourPolicy)``.

    The LSTM states of ``N`` environments are packed in an array ``(N, 4 * n_layers, hidden_size)``: for each
    environment the hidden states of all layers of the actor, its cell states, and the same for the critic.

    :param args: arguments of :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`
    :param lstm_hidden_size: width of each LSTM
    :param n_lstm_layers: layers of each LSTM
    :param shared_lstm: must be ``False``
    :param enable_critic_lstm: whether the critic has an LSTM; otherwise it has a linear layer instead, and no recurrent
        state
    :param lstm_kwargs: further arguments of both LSTMs: ``bias`` and ``dropout``
    :param kwargs: the other arguments of :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :raises ValueError: for a shared LSTM or other parameters that the actor and the critic share, and for other
        arguments of the LSTMs
    """

    def __init__(
        self,
        *args: Any,
        lstm_hidden_size: int = 256,
        n_lstm_layers: int = 1,
        shared_lstm: bool = False,
        enable_critic_lstm: bool = True,
        lstm_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if shared_lstm:
            raise ValueError(
                f"shared_lstm={shared_lstm}: the actor and the critic must not share an LSTM, since each is trained on "
                "its own loss with its own learning rate; leave the argument out"
            )
        others = set(lstm_kwargs or {}) - {"bias", "dropout"}
        if others:
            raise ValueError(f"lstm_kwargs={lstm_kwargs}: only bias and dropout are supported, not {sorted(others)}")
        super().__init__(
            *args,
            lstm_hidden_size=lstm_hidden_size,
            n_lstm_layers=n_lstm_layers,
            enable_critic_lstm=enable_critic_lstm,
            lstm_kwargs=lstm_kwargs,
            **kwargs,
        )

    @property
    def packed_states_shape(self) -> tuple[int, int]:
        """The shape of one environment's packed LSTM states, ``(4 * n_layers, hidden_size)``."""
        n_layers, _, hidden_size = self.lstm_hidden_state_shape
        return 4 * n_layers, hidden_size

    def unpack_states(self, packed: th.Tensor) -> RNNStates:
        """Convert packed LSTM states to those of sb3-contrib, on the policy's device.

        :param packed: ``(N, 4 * n_layers, hidden_size)``
        :return: hidden and cell states of the actor and of the critic, each ``(n_layers, N, hidden_size)``
        """
        actor_h, actor_c, critic_h, critic_c = packed.to(self.device).swapaxes(0, 1).contiguous().chunk(4)
        return RNNStates((actor_h, actor_c), (critic_h, critic_c))

    @staticmethod
    def pack_states(states: RNNStates) -> th.Tensor:
        """Pack LSTM states, the inverse of :meth:`unpack_states`.

        :param states: hidden and cell states of the actor and of the critic, each ``(n_layers, N, hidden_size)``
        :return: ``(N, 4 * n_layers, hidden_size)``
        """
        return th.cat([*states.pi, *states.vf]).swapaxes(0, 1)

    def next_critic_states(self, obs: PyTorchObs, states: Any) -> Any:
        """Compute the states of the critic's LSTM after it has read observations.

        :param obs: ``(N, *observation_shape)``, or a dict of such tensors
        :param states: hidden and cell state before the observations, each ``(n_layers, N, hidden_size)``
        :return: the same after the observations; ``states`` unchanged if the critic has no LSTM
        """
        if self.lstm_critic is None:
            return states
        features = BasePolicy.extract_features(self, obs, self.vf_features_extractor)
        episode_starts = th.zeros(len(features), device=self.device)
        _, next_states = self._process_sequence(features, states, episode_starts, self.lstm_critic)
        return next_states

    def _modules_like_keras(self) -> list[nn.Module]:
        critic = self.lstm_critic or self.critic
        assert critic is not None
        return [*super()._modules_like_keras(), self.lstm_actor, critic]

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Make a features extractor.

        :return: the extractor, with its width as an ``int``
        """
        extractor = super().make_features_extractor()
        # for MultiDiscrete observations it is a numpy integer, which nn.LSTM refuses
        extractor._features_dim = int(extractor.features_dim)
        return extractor

    def _distribution_and_value(self, observation: PyTorchObs) -> tuple[Distribution, th.Tensor]:
        states = self.unpack_states(th.zeros(1, *self.packed_states_shape))
        episode_starts = th.zeros(1, device=self.device)
        distribution, _ = self.get_distribution(observation, states.pi, episode_starts)
        return distribution, self.predict_values(observation, states.vf, episode_starts)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        # sb3-contrib leaves these out
        n_layers, _, hidden_size = self.lstm_hidden_state_shape
        return {
            **super()._get_constructor_parameters(),
            "lstm_hidden_size": hidden_size,
            "n_lstm_layers": n_layers,
            "enable_critic_lstm": self.enable_critic_lstm,
            "lstm_kwargs": self.lstm_kwargs,
        }


class MlpLstmPolicy(SeparateRecurrentPolicy):
    """For vector observations: an LSTM for each network, followed by the reference's hidden layers."""


class CnnLstmPolicy(SeparateCnns, SeparateRecurrentPolicy, RecurrentActorCriticCnnPolicy):
    """For images: an LSTM after each CNN, see :class:`~sb3_a2c_td.policies.separate.SeparateCnns`."""


class MultiInputLstmPolicy(SeparateCombinedNetworks, SeparateRecurrentPolicy, RecurrentMultiInputActorCriticPolicy):
    """For dict observations, see :class:`~sb3_a2c_td.policies.separate.SeparateCombinedNetworks`."""
