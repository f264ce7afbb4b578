"""The engine for policies with a memory."""

from typing import Any, cast

import numpy as np
import torch as th
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td.engines.autograd import AnyNetworks, is_mode_free
from sb3_a2c_td.engines.interface import DivergenceError, Objective, Update
from sb3_a2c_td.engines.sequences import Sequences, sequences
from sb3_a2c_td.policies.recurrent import SeparateRecurrentPolicy
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import RecurrentTransitions, TransitionBuffer, Transitions


class RecurrentNetworks(AnyNetworks):
    """Computes a batch as sequences, padded to the longest; only what stands in the batch's rows is read from them.

    The critic sees every sequence with the state behind it, so that one pass gives V(s) and V(s'), each with the memory
    of all that came before.

    :param policy: the policy
    """

    policy: SeparateRecurrentPolicy
    _last_batch: Transitions[th.Tensor] | None = None
    _last_cut: tuple[Sequences, RNNStates]

    @th.no_grad()
    def draw_and_remember(self, observations: Observations, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw actions, ``(N, *action_shape)``, and give the memory behind the observations."""
        obs = obs_as_tensor(observations, self.policy.device)
        states, starts = self.policy.to_states(th.from_numpy(memory)), th.zeros(len(memory), device=self.policy.device)
        try:
            distribution, actor_states = self.policy.get_distribution(obs, states.pi, starts)
        except ValueError as error:
            raise DivergenceError from error
        actions = distribution.get_actions().reshape(-1, *cast(tuple[int, ...], self.policy.action_space.shape))
        behind = RNNStates(actor_states, self.policy.critic_states(obs, states.vf))
        return actions.cpu().numpy(), self.policy.to_memory(behind).cpu().numpy()

    def values_of(self, batch: Transitions[th.Tensor]) -> th.Tensor:
        """Compute V(s), ``(N,)``."""
        return self.values_and_next_values(batch, None)[0]

    def values_and_next_values(
        self, batch: Transitions[th.Tensor], successors: np.ndarray | None
    ) -> tuple[th.Tensor, th.Tensor]:
        """Compute V(s) and V(s'), each ``(N,)``; only V(s) can be differentiated."""
        cut, states = self._cut(batch)
        states_and_last = _taken(cut.rows, batch.observations, batch.next_observations)
        starts = th.zeros(cut.rows.size, device=self.policy.device)
        values = self.policy.predict_values(states_and_last, states.vf, starts).reshape(cut.rows.shape)
        return values[cut.sequence, cut.step], values[cut.sequence, cut.step + 1].detach()

    def log_prob_and_entropy(self, batch: Transitions[th.Tensor], double_softmax: bool) -> tuple[th.Tensor, th.Tensor]:
        r"""Compute :math:`\log \tau(a|s)` (or the double softmax of it) and the entropy, each ``(N,)``."""
        cut, states = self._cut(batch)
        # padding repeats a sequence's last row
        rows = cut.rows[:, :-1] % len(batch.rewards)
        starts = th.zeros(rows.size, device=self.policy.device)
        try:
            distribution, _ = self.policy.get_distribution(_taken(rows, batch.observations), states.pi, starts)
        except ValueError as error:
            raise DivergenceError from error
        log_prob, entropy = self.of_distribution(distribution, batch.actions[rows.ravel()], double_softmax)
        return log_prob.reshape(rows.shape)[cut.sequence, cut.step], entropy.reshape(rows.shape)[cut.sequence, cut.step]

    def _cut(self, batch: Transitions[th.Tensor]) -> tuple[Sequences, RNNStates]:
        if batch is not self._last_batch:
            rows = cast(RecurrentTransitions[th.Tensor], batch)
            cut = sequences(rows.env.cpu().numpy(), rows.episode_starts.cpu().numpy())
            self._last_batch, self._last_cut = batch, (cut, self.policy.to_states(rows.lstm_states[cut.firsts]))
        return self._last_cut

    def _successors(self, *_: Any) -> None:
        # V(s') comes with V(s)
        return

    def _set_training_mode(self, mode: bool) -> None:
        # cuDNN differentiates LSTMs in training mode only
        super()._set_training_mode(mode or (self.policy.device.type == "cuda" and is_mode_free(self.policy)))


class RecurrentEngine:
    """See :class:`~sb3_a2c_td.engines.interface.Engine`.

    :param policy: the policy to act for and to update
    :param name: what the model calls it
    """

    def __init__(self, policy: SeparateRecurrentPolicy, name: str = "torch") -> None:
        self.policy, self.name = policy, name
        self._networks = RecurrentNetworks(policy)

    def __str__(self) -> str:
        return "torch (the policy has a memory)"

    def act(self, observations: Observations, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw actions from the policy's distribution.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :param memory: before the observations, ``(n_envs, 4 * n_layers, hidden_size)``
        :return: the actions, ``(n_envs, *action_shape)``, and the memory behind the observations
        :raises DivergenceError: if the policy's outputs are not finite
        """
        return self._networks.draw_and_remember(observations, memory)

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer."""
        return self._networks.update(buffer, objective)


def _taken(rows: np.ndarray, *observations: Any) -> PyTorchObs:
    """Take rows out of several batches of observations, counted through."""
    if isinstance(observations[0], dict):
        return {key: th.cat([batch[key] for batch in observations])[rows.ravel()] for key in observations[0]}
    return th.cat(observations)[rows.ravel()]
