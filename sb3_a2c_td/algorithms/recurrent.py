"""RecurrentTDA2C: TDA2C with LSTMs."""

from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.engines import Engine
from sb3_a2c_td.engines.interface import UnsupportedPolicyError
from sb3_a2c_td.engines.recurrent import RecurrentEngine
from sb3_a2c_td.policies.recurrent import (
    CnnLstmPolicy,
    MlpLstmPolicy,
    MultiInputLstmPolicy,
    SeparateRecurrentPolicy,
)
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import RecurrentTransitions, Transitions
from sb3_a2c_td.rollout.validation import RowFormat
from sb3_a2c_td.vec_env.autoreset_steps import transition_rows


class RecurrentTDA2C(TDA2C):
    r"""TDA2C with an LSTM in the actor and another in the critic, for partially observable environments.

    Let :math:`h` be the recurrent state before the networks read :math:`s`, and :math:`h'` the state after it; an
    episode starts with :math:`h = 0`. The target is :math:`y = \tilde r + \gamma V(s', h')` with the scaled reward
    :math:`\tilde r`, the advantage :math:`A = y - V(s, h)`, and actions are drawn from :math:`\pi(\cdot|s, h)`.
    Gradients flow back to the beginning of the rollout or of the episode, whichever is later: ``n_steps`` limits over
    how many steps the networks learn to remember, although the recurrent state lasts for the whole episode.

    Everything else is as in :class:`~sb3_a2c_td.TDA2C`, with the same arguments. ``engine`` is ``"auto"`` or
    ``"autograd"``, which are the same here.

    :raises ValueError: as :class:`~sb3_a2c_td.TDA2C`
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": MlpLstmPolicy,
        "CnnLstmPolicy": CnnLstmPolicy,
        "MultiInputLstmPolicy": MultiInputLstmPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateRecurrentPolicy
    policy: SeparateRecurrentPolicy  # type: ignore[assignment]
    rows_class: ClassVar[type[Any]] = RecurrentTransitions
    _last_lstm_states: np.ndarray = np.empty(0, np.float32)
    """before the last observations, ``(n_envs, 4 * n_layers, hidden_size)``; not yet zeroed where an episode starts"""

    def _excluded_save_params(self) -> list[str]:
        # used within one step only
        return [*super()._excluded_save_params(), "_episode_starts", "_lstm_states", "_next_lstm_states"]

    def _make_engine(self) -> Engine:
        if self.engine not in ("auto", "autograd"):
            raise UnsupportedPolicyError(self.engine, "its policy is recurrent")
        self._engine_name = self.engine
        return cast(Engine, RecurrentEngine(self.policy))

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        total_timesteps, callback = super()._setup_learn(*args, **kwargs)
        shape = (self.n_envs, *self.policy.packed_states_shape)
        if self._last_lstm_states.shape != shape:
            self._last_lstm_states = np.zeros(shape, np.float32)
        return total_timesteps, callback

    def _act(self, observations: Observations) -> np.ndarray:
        self._episode_starts = self._find_episode_starts()
        self._lstm_states = np.where(self._episode_starts[:, None, None], np.float32(0.0), self._last_lstm_states)
        engine = cast(RecurrentEngine, self._current_engine)
        actions, self._next_lstm_states = engine.act_and_advance(observations, self._lstm_states, self._streams)
        return actions

    def _find_episode_starts(self) -> np.ndarray:
        """Check for each environment whether its last observation is the first of an episode, bool ``(n_envs,)``."""
        assert self.env is not None
        assert self._last_episode_starts is not None
        live = transition_rows(self.env)
        if live is None:
            return self._last_episode_starts
        # an episode starts after an autoreset step
        starts = np.ones(self.n_envs, bool)
        starts[live] = self._last_episode_starts[live]
        return starts

    def _row_formats(self) -> dict[str, RowFormat]:
        return {
            **super()._row_formats(),
            # environments of this model, or of one with more of them that was saved
            "env": RowFormat((), "i", spaces.Discrete(max(self.n_envs, len(self.rollout_buffer)))),
            "episode_starts": RowFormat((), "b"),
            "lstm_states": RowFormat(self.policy.packed_states_shape, "f"),
        }

    def _transitions(self, *args: Any) -> Transitions[np.ndarray]:
        rows = RecurrentTransitions(
            *super()._transitions(*args), np.arange(self.n_envs), self._episode_starts, self._lstm_states
        )
        # only the engine reads the additional fields
        return cast(Transitions[np.ndarray], rows)

    def _store_last_obs(self, new_obs: Any, dones: np.ndarray) -> None:
        super()._store_last_obs(new_obs, dones)
        self._last_lstm_states = self._next_lstm_states
