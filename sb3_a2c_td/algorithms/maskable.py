"""MaskableTDA2C: TDA2C where some actions are not allowed."""

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
from sb3_a2c_td.vec_env.action_masks import action_masks, check_masks_available


class MaskableTDA2C(TDA2C):
    r"""TDA2C for environments that say at every step which actions are allowed.

    The policy's distribution is that of the allowed actions, :math:`\tau(a|s) \propto e^{z_a}` where the mask allows
    :math:`a` and 0 elsewhere, when actions are drawn and in the actor's loss, so that no action that is not allowed is
    ever taken or learned from. (The second softmax of ``double_softmax`` is over all actions.) The critic and its
    targets know no masks. All else is as in :class:`~sb3_a2c_td.TDA2C`, and its arguments are the same.

    The masks come from where sb3-contrib's ``MaskablePPO`` looks for them, the method ``action_masks()`` of each
    environment (or of ``ActionMasker`` around it); for ``gymnasium.vector`` environments see
    :meth:`~sb3_a2c_td.GymnasiumVecEnv.action_masks`. Actions are ``Discrete``, ``MultiDiscrete`` or
    ``MultiBinary``; of the latter two a mask holds the choices of every component, one component after another (of a
    binary one 0 and 1).

    :raises ValueError: as :class:`~sb3_a2c_td.TDA2C`; and for continuous actions
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MaskableMlpPolicy,
        "CnnPolicy": MaskableCnnPolicy,
        "MultiInputPolicy": MaskableMultiInputPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = SeparateMaskablePolicy
    policy: SeparateMaskablePolicy  # type: ignore[assignment]

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if isinstance(self.action_space, spaces.Box):
            raise ValueError(f"action_space={self.action_space}: masks are for discrete actions; use TDA2C")

    def _excluded_save_params(self) -> list[str]:
        # what a step keeps to itself
        return [*super()._excluded_save_params(), "_masks"]

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Give actions for observations.

        :param observation: an observation, or a batch of them
        :param state: not used
        :param episode_start: not used
        :param deterministic: whether to give the most likely allowed action instead of drawing one
        :param action_masks: which actions are allowed, ``(n_choices,)`` or a batch of such; ``None``: all
        :return: the action or actions, and ``state``
        """
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks=action_masks)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        total_timesteps, callback = super()._setup_learn(*args, **kwargs)
        assert self.env is not None
        check_masks_available(self.env)
        return total_timesteps, callback

    def _act(self, observations: Observations) -> np.ndarray:
        assert self.env is not None
        self._masks = action_masks(self.env, self.num_timesteps)
        return self._current_engine.act(observations, self._masks)

    def _transitions(self, *args: Any) -> Transitions[np.ndarray]:
        # one field more, with which nothing but the policy has to do
        return cast(Transitions[np.ndarray], MaskedTransitions(*super()._transitions(*args), self._masks))
