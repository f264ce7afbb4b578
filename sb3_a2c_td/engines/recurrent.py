"""The engine of recurrent policies."""

from typing import Any, cast

import numpy as np
import torch as th
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.interface import DivergenceError
from sb3_a2c_td.engines.policy_outputs import log_prob_and_entropy
from sb3_a2c_td.engines.sequences import Sequences, sequences
from sb3_a2c_td.engines.stateless_modules import is_stateless
from sb3_a2c_td.policies.recurrent import SeparateRecurrentPolicy
from sb3_a2c_td.rollout.observations import Observations, map_arrays
from sb3_a2c_td.rollout.transitions import RecurrentTransitions, TransitionBuffer, Transitions


class RecurrentEngine(AutogradEngine):
    """Computes a batch as sequences, padded to the longest; padding has no part in the results.

    The critic sees every sequence and the observation after it, so that one pass gives V(s) and V(s'), each with the
    recurrent state after all that came before.

    :param policy: the policy to act for and to update
    """

    policy: SeparateRecurrentPolicy
    _last_batch: Transitions[th.Tensor] | None = None
    _last_cut: tuple[Sequences, RNNStates]

    def __init__(self, policy: SeparateRecurrentPolicy) -> None:
        super().__init__(policy)

    def __str__(self) -> str:
        return "autograd (the policy is recurrent)"

    @th.no_grad()
    def act_and_advance(self, observations: Observations, lstm_states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw actions from the policy's distribution, and advance the recurrent state.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :param lstm_states: the recurrent state before the observations, ``(n_envs, 4 * n_layers, hidden_size)``
        :return: the actions, ``(n_envs, *action_shape)``, and the recurrent state after the observations
        :raises DivergenceError: if the policy's outputs are not finite
        """
        obs = obs_as_tensor(observations, self.policy.device)
        states = self.policy.to_states(th.from_numpy(lstm_states))
        distribution, actor_states = self._distribution(obs, states.pi, len(lstm_states))
        actions = distribution.get_actions().cpu().numpy().reshape(-1, *self._action_shape)
        states_after = RNNStates(actor_states, self.policy.critic_states(obs, states.vf))
        return actions, self.policy.to_memory(states_after).cpu().numpy()

    def _distribution(self, observations: PyTorchObs, actor_states: Any, n: int) -> tuple[Distribution, Any]:
        try:
            return self.policy.get_distribution(observations, actor_states, self._no_starts(n))  # type: ignore[no-any-return]
        except ValueError as error:
            raise DivergenceError from error

    def _no_starts(self, n: int) -> th.Tensor:
        # sequences begin with the state that they are given
        return th.zeros(n, device=self.policy.device)

    def _values(self, buffer: TransitionBuffer, batch: Transitions[th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        return self._sequence_values(batch)

    def _values_to_train(self, batch: Transitions[th.Tensor], values: th.Tensor) -> th.Tensor:
        if not self.policy.training or is_stateless(self.policy):
            return values
        return self._sequence_values(batch)[0]

    def _sequence_values(self, batch: Transitions[th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        """Compute V(s) and V(s'), each ``(N,)``; only V(s) can be differentiated."""
        cut, states = self._cut(batch)
        observations = map_arrays(
            lambda obs, next_obs: th.cat([obs, next_obs])[cut.rows.ravel()], batch.observations, batch.next_observations
        )
        values = self.policy.predict_values(observations, states.vf, self._no_starts(cut.rows.size))
        values = values.reshape(cut.rows.shape)
        return values[cut.sequence, cut.step], values[cut.sequence, cut.step + 1].detach()

    def _log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        cut, states = self._cut(batch)
        # padding repeats a sequence's last row
        rows = cut.rows[:, :-1] % len(batch.rewards)
        observations = map_arrays(lambda obs: obs[rows.ravel()], batch.observations)
        distribution, _ = self._distribution(observations, states.pi, rows.size)
        by_step = log_prob_and_entropy(self.policy, distribution, batch.actions[rows.ravel()], double_softmax)
        log_prob, entropy = (each.reshape(rows.shape)[cut.sequence, cut.step] for each in by_step)
        return log_prob, entropy

    def _cut(self, batch: Transitions[th.Tensor]) -> tuple[Sequences, RNNStates]:
        """Cut a batch into sequences; return these and the recurrent states before them."""
        if batch is not self._last_batch:
            rows = cast(RecurrentTransitions[th.Tensor], batch)
            cut = sequences(rows.env.cpu().numpy(), rows.episode_starts.cpu().numpy())
            self._last_batch, self._last_cut = batch, (cut, self.policy.to_states(rows.lstm_states[cut.firsts]))
        return self._last_cut

    def _set_training_mode(self, mode: bool) -> None:
        # cuDNN differentiates LSTMs in training mode only
        super()._set_training_mode(mode or (self.policy.device.type == "cuda" and is_stateless(self.policy)))
