"""The engine of recurrent policies."""

from typing import Any, cast

import numpy as np
import torch as th
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td.engines.action_sampling import draw_actions
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.policy_outputs import keeping_last_distribution, log_prob_and_entropy, reporting_divergence
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.engines.sequences import Sequences, split_into_sequences
from sb3_a2c_td.engines.stateless_modules import is_stateless
from sb3_a2c_td.policies.recurrent import SeparateRecurrentPolicy
from sb3_a2c_td.rollout.observations import Observations, map_arrays
from sb3_a2c_td.rollout.transitions import RecurrentTransitions, TransitionBuffer, Transitions


class RecurrentEngine(AutogradEngine):
    """Evaluates a batch as sequences of one environment and one episode each, padded to the longest.

    The critic reads each sequence with the observation that follows it. One pass therefore gives V(s) and V(s'), each
    with the recurrent state of everything before it. Outputs of padding are dropped.

    :param policy: the policy to act for and to update
    """

    policy: SeparateRecurrentPolicy
    _last_batch: Transitions[th.Tensor] | None = None
    _last_sequences: tuple[Sequences, RNNStates]

    def __init__(self, policy: SeparateRecurrentPolicy) -> None:
        super().__init__(policy)

    def __str__(self) -> str:
        return "autograd (the policy is recurrent)"

    @th.no_grad()
    def act_and_advance(
        self, observations: Observations, lstm_states: np.ndarray, streams: RandomStreams
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw actions from the policy's distribution, and advance the recurrent state.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :param lstm_states: the recurrent state before the observations, ``(n_envs, 4 * n_layers, hidden_size)``
        :param streams: the model's random generators
        :return: the actions, ``(n_envs, *action_shape)``, and the recurrent state after the observations
        :raises DivergenceError: if the policy's outputs are not finite
        """
        with self._computing(observations, streams):
            obs = obs_as_tensor(observations, self.policy.device)
            states = self.policy.unpack_states(th.from_numpy(lstm_states))
            distribution, actor_states = self._distribution(obs, states.pi, len(lstm_states))
            actions = draw_actions(distribution, streams, self.policy.device)
            next_states = RNNStates(actor_states, self.policy.next_critic_states(obs, states.vf))
        packed_states = self.policy.pack_states(next_states).cpu().numpy()
        return actions.cpu().numpy().reshape(-1, *self._action_shape), packed_states

    def _distribution(self, observations: PyTorchObs, actor_states: Any, n: int) -> tuple[Distribution, Any]:
        with reporting_divergence():
            return self.policy.get_distribution(observations, actor_states, self._no_starts(n))  # type: ignore[no-any-return]

    def _no_starts(self, n: int) -> th.Tensor:
        # no episode starts within a sequence
        return th.zeros(n, device=self.policy.device)

    def _values(self, buffer: TransitionBuffer, batch: Transitions[th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        return self._sequence_values(batch)

    def _state_values(self, batch: Transitions[th.Tensor]) -> th.Tensor:
        return self._sequence_values(batch)[0]

    def _sequence_values(self, batch: Transitions[th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        """Compute V(s) and V(s'), each ``(N,)``; only V(s) can be differentiated."""
        sequences, states = self._sequences_and_states(batch)
        rows = sequences.padded_rows
        observations = map_arrays(
            lambda obs, next_obs: th.cat([obs, next_obs])[rows.ravel()], batch.observations, batch.next_observations
        )
        values = self.policy.predict_values(observations, states.vf, self._no_starts(rows.size)).reshape(rows.shape)
        next_values = values[sequences.sequence, sequences.step + 1]
        return values[sequences.sequence, sequences.step], next_values.detach()

    def _log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        sequences, states = self._sequences_and_states(batch)
        # the actor does not read the observation after a sequence: padding repeats the last row instead
        rows = sequences.padded_rows[:, :-1] % len(batch.rewards)
        observations = map_arrays(lambda obs: obs[rows.ravel()], batch.observations)
        with keeping_last_distribution(self.policy):
            distribution, _ = self._distribution(observations, states.pi, rows.size)
            by_step = log_prob_and_entropy(self.policy, distribution, batch.actions[rows.ravel()], double_softmax)
        log_prob, entropy = (each.reshape(rows.shape)[sequences.sequence, sequences.step] for each in by_step)
        return log_prob, entropy

    def _sequences_and_states(self, batch: Transitions[th.Tensor]) -> tuple[Sequences, RNNStates]:
        """Split a batch into sequences and return them with the LSTM states before each; cached for the last batch."""
        if batch is not self._last_batch:
            rows = cast(RecurrentTransitions[th.Tensor], batch)
            sequences = split_into_sequences(rows.env.cpu().numpy(), rows.episode_starts.cpu().numpy())
            states = self.policy.unpack_states(rows.lstm_states[sequences.first_rows])
            self._last_batch, self._last_sequences = batch, (sequences, states)
        return self._last_sequences

    def _set_training_mode(self, mode: bool) -> None:
        # cuDNN differentiates LSTMs in training mode only
        super()._set_training_mode(mode or (self.policy.device.type == "cuda" and is_stateless(self.policy)))
