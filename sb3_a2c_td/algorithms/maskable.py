"""MaskableTDA2C: TDA2C with invalid action masking."""

import warnings
from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.policies.maskable import (
    MaskableCnnPolicy,
    MaskableMlpPolicy,
    MaskableMultiInputPolicy,
    SeparateMaskablePolicy,
)
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.rollout.transitions import MaskedTransitions, Transitions
from sb3_a2c_td.rollout.validation import RowFormat
from sb3_a2c_td.vec_env.action_masks import action_masks, check_masks_available, components


class MaskableTDA2C(TDA2C):
    r"""TDA2C with invalid action masking, for environments in which some actions are not allowed.

    The policy is restricted to the allowed actions: :math:`\pi(a|s) \propto e^{z_a}` for these, and 0 for all others.
    Actions are drawn from this distribution, and the actor's loss uses it too. An invalid action is therefore never
    taken and never learned from. (The second softmax of ``double_softmax`` runs over all actions.) Masks do not affect
    the critic and its targets. Everything else is as in :class:`~sb3_a2c_td.TDA2C`, with the same arguments.

    Masks are provided as for sb3-contrib's ``MaskablePPO``: each environment has a method ``action_masks()``, or is
    wrapped in ``ActionMasker``. For ``gymnasium.vector`` environments see
    :meth:`~sb3_a2c_td.GymnasiumVecEnv.action_masks`. The action space is ``Discrete``, ``MultiDiscrete`` or
    ``MultiBinary``. For the latter two, a mask lists the choices of all components one after another (0 and 1 for a
    binary component).

    :raises ValueError: as :class:`~sb3_a2c_td.TDA2C`, and for continuous actions
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MaskableMlpPolicy,
        "CnnPolicy": MaskableCnnPolicy,
        "MultiInputPolicy": MaskableMultiInputPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateMaskablePolicy
    policy: SeparateMaskablePolicy  # type: ignore[assignment]
    rows_class: ClassVar[type[Any]] = MaskedTransitions
    _has_warned_of_missing_masks: bool = False

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if isinstance(self.action_space, spaces.Box):
            raise ValueError(
                f"action_space={self.action_space}: continuous actions cannot be masked; use TDA2C, or a Discrete, "
                "MultiDiscrete or MultiBinary action space"
            )

    def _excluded_save_params(self) -> list[str]:
        # the masks are used within one step only
        return [*super()._excluded_save_params(), "_masks", "_has_warned_of_missing_masks"]

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Predict actions for observations.

        :param observation: an observation, or a batch of them
        :param state: ignored: the policy is not recurrent
        :param episode_start: ignored, as ``state``
        :param deterministic: whether to return the most likely allowed action instead of drawing one
        :param action_masks: which actions are allowed, ``(n_choices,)``, or ``(N, n_choices)`` for a batch;
            ``None``: all of them
        :return: the action, or a batch of them, and ``state`` unchanged
        """
        # SB3's evaluation passes episode starts
        if action_masks is None and episode_start is not None and not self._has_warned_of_missing_masks:
            self._has_warned_of_missing_masks = True
            warnings.warn(
                "MaskableTDA2C is evaluated without action masks, and may take invalid actions: use "
                "sb3_contrib.common.maskable.callbacks.MaskableEvalCallback and "
                "sb3_contrib.common.maskable.evaluation.evaluate_policy instead of EvalCallback and SB3's "
                "evaluate_policy.",
                stacklevel=2,
            )
        observation = self._normalized(observation)
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks=action_masks)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        total_timesteps, callback = super()._setup_learn(*args, **kwargs)
        assert self.env is not None
        check_masks_available(self.env)
        return total_timesteps, callback

    def _act(self, observations: Observations) -> np.ndarray:
        assert self.env is not None
        self._masks = action_masks(self.env, self.num_timesteps)
        return self._current_engine.act(observations, self._streams, self._masks)

    def _row_formats(self) -> dict[str, RowFormat]:
        return {**super()._row_formats(), "action_masks": RowFormat((sum(components(self.action_space)),), "b")}

    def _transitions(self, *args: Any) -> Transitions[np.ndarray]:
        # only the engine reads the additional field
        return cast(Transitions[np.ndarray], MaskedTransitions(*super()._transitions(*args), self._masks))
