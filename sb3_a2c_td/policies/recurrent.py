"""sb3-contrib's policies with LSTMs, with an actor and a critic that share nothing."""

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

    The actor and the critic have an LSTM each, between their features extractor and their hidden layers. A policy of
    your own fits in as ``class Mine(SeparateRecurrentPolicy, YourPolicy)``.

    The memory of ``N`` environments is an array ``(N, 4 * n_layers, hidden_size)``: the hidden and the cell state of
    every layer of the actor, then of the critic.

    :param args: arguments of :class:`~sb3_a2c_td.policies.separate.SeparateNetworks`
    :param lstm_hidden_size: width of each LSTM
    :param n_lstm_layers: layers of each LSTM
    :param shared_lstm: must be ``False``
    :param enable_critic_lstm: whether the critic has an LSTM; otherwise a linear layer, and no memory
    :param lstm_kwargs: further arguments of both LSTMs, ``bias`` and ``dropout``
    :param kwargs: the others of :class:`~sb3_a2c_td.SeparateActorCriticPolicy`
    :raises ValueError: for a shared LSTM, other arguments of LSTMs, or any other parameter that actor and critic share
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
            raise ValueError(f"lstm_kwargs={lstm_kwargs}: only bias and dropout can be served, not {sorted(others)}")
        super().__init__(
            *args,
            lstm_hidden_size=lstm_hidden_size,
            n_lstm_layers=n_lstm_layers,
            enable_critic_lstm=enable_critic_lstm,
            lstm_kwargs=lstm_kwargs,
            **kwargs,
        )

    @property
    def memory_shape(self) -> tuple[int, int]:
        """The shape of one environment's memory."""
        n_layers, _, hidden_size = self.lstm_hidden_state_shape
        return 4 * n_layers, hidden_size

    def to_states(self, memory: th.Tensor) -> RNNStates:
        """Give memories in the form of sb3-contrib.

        :param memory: ``(N, 4 * n_layers, hidden_size)``
        """
        actor_h, actor_c, critic_h, critic_c = memory.to(self.device).swapaxes(0, 1).contiguous().chunk(4)
        return RNNStates((actor_h, actor_c), (critic_h, critic_c))

    @staticmethod
    def to_memory(states: RNNStates) -> th.Tensor:
        """Do the opposite of :meth:`to_states`."""
        return th.cat([*states.pi, *states.vf]).swapaxes(0, 1)

    def critic_states(self, obs: PyTorchObs, states: Any) -> Any:
        """Give what the critic's LSTM remembers behind observations; without one, the states as they are.

        :param obs: ``(N, ...)``
        :param states: before the observations, each ``(n_layers, N, hidden_size)``
        """
        if self.lstm_critic is None:
            return states
        features = BasePolicy.extract_features(self, obs, self.vf_features_extractor)
        starts = th.zeros(len(features), device=self.device)
        _, behind = self._process_sequence(features, states, starts, self.lstm_critic)
        return behind

    def _modules_like_keras(self) -> list[nn.Module]:
        of_critic = self.lstm_critic or self.critic
        assert of_critic is not None
        return [*super()._modules_like_keras(), self.lstm_actor, of_critic]

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Make a features extractor, whose width an LSTM takes."""
        extractor = super().make_features_extractor()
        # of MultiDiscrete it is one of numpy's numbers
        extractor._features_dim = int(extractor.features_dim)
        return extractor

    def _distribution_and_value(self, observation: PyTorchObs) -> tuple[Distribution, th.Tensor]:
        states = self.to_states(th.zeros(1, *self.memory_shape))
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
    """For observations that are vectors: an LSTM for each network, and the seed's hidden layers behind it."""


class CnnLstmPolicy(SeparateCnns, SeparateRecurrentPolicy, RecurrentActorCriticCnnPolicy):
    """For images: an LSTM behind each CNN, see :class:`~sb3_a2c_td.policies.separate.SeparateCnns`."""


class MultiInputLstmPolicy(SeparateCombinedNetworks, SeparateRecurrentPolicy, RecurrentMultiInputActorCriticPolicy):
    """For dict observations, see :class:`~sb3_a2c_td.policies.separate.SeparateCombinedNetworks`."""
