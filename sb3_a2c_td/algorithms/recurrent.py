"""RecurrentTDA2C: TDA2C with a memory."""

from typing import Any, ClassVar, cast

import numpy as np
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
from sb3_a2c_td.vec_env.autoreset_steps import transition_rows


class RecurrentTDA2C(TDA2C):
    r"""TDA2C for environments that do not show everything: an actor and a critic that remember, by an LSTM each.

    With :math:`h` the memory of all that the episode has shown before :math:`s`, and :math:`h'` the memory with it, the
    target is :math:`y = \tilde r + \gamma V(s', h')`, the advantage :math:`A = y - V(s, h)`, and the actor draws from
    :math:`\tau(\cdot|s, h)`. An interval's gradients reach back to its beginning, or to that of the episode, and no
    further: ``n_steps`` is how far back the networks learn to look, though they may remember for longer. All else is
    as in :class:`~sb3_a2c_td.TDA2C`, and its arguments are the same; ``engine`` is ``"auto"`` or ``"autograd"``,
    which are the same here.

    :raises ValueError: as :class:`~sb3_a2c_td.TDA2C`
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": MlpLstmPolicy,
        "CnnLstmPolicy": CnnLstmPolicy,
        "MultiInputLstmPolicy": MultiInputLstmPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateRecurrentPolicy
    policy: SeparateRecurrentPolicy  # type: ignore[assignment]
    _memory: np.ndarray = np.empty(0, np.float32)

    def _excluded_save_params(self) -> list[str]:
        # what a step keeps to itself
        return [*super()._excluded_save_params(), "_starts", "_memory_before", "_memory_behind"]

    def _make_engine(self) -> Engine:
        if self.engine not in ("auto", "autograd"):
            raise UnsupportedPolicyError(self.engine, "its policy is recurrent")
        self._engine_name = self.engine
        return cast(Engine, RecurrentEngine(self.policy))

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        total_timesteps, callback = super()._setup_learn(*args, **kwargs)
        shape = (self.n_envs, *self.policy.memory_shape)
        if self._memory.shape != shape:
            self._memory = np.zeros(shape, np.float32)
        return total_timesteps, callback

    def _act(self, observations: Observations) -> np.ndarray:
        self._starts = self._episode_starts()
        self._memory_before = np.where(self._starts[:, None, None], np.float32(0.0), self._memory)
        engine = cast(RecurrentEngine, self._current_engine)
        actions, self._memory_behind = engine.act_and_advance(observations, self._memory_before)
        return actions

    def _episode_starts(self) -> np.ndarray:
        assert self.env is not None
        assert self._last_episode_starts is not None
        live = transition_rows(self.env)
        if live is None:
            return self._last_episode_starts
        # behind a dead step an episode begins
        starts = np.ones(self.n_envs, bool)
        starts[live] = self._last_episode_starts[live]
        return starts

    def _transitions(self, *args: Any) -> Transitions[np.ndarray]:
        rows = RecurrentTransitions(
            *super()._transitions(*args), np.arange(self.n_envs), self._starts, self._memory_before
        )
        # fields more, with which nothing but the engine has to do
        return cast(Transitions[np.ndarray], rows)

    def _store_last_obs(self, new_obs: Any, dones: np.ndarray) -> None:
        super()._store_last_obs(new_obs, dones)
        self._memory = self._memory_behind
