"""What an engine is."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
import torch as th

from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import ArrayT, Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer


class Objective(NamedTuple):
    """What an update descends; the arguments of :class:`~sb3_a2c_td.TDA2C` of the same names say more."""

    gamma: float
    reward_scale: float
    bootstrap_on_truncation: bool
    double_softmax: bool
    ent_coef: float
    max_grad_norm: float | None
    normalize_advantage: bool


class Update(NamedTuple):
    """What an update computed. All of it is as it was before the step was taken."""

    targets: np.ndarray
    """TD targets, ``(N,)`` float32"""
    values: np.ndarray
    """``(N,)`` float32"""
    actor_loss: float
    critic_loss: float
    entropy_loss: float
    """the mean entropy, negated"""
    grad_norm: float
    """of all parameters together, before clipping"""
    td_error: float
    """the mean of the advantages"""
    td_error_std: float
    explained_variance: float
    """of the targets by the values; NaN where the targets are all the same"""


class Others(Protocol):
    """Those who train the same policy at the same time, each on a batch of their own."""

    def average(self, parameters: Iterable[th.Tensor], figures: th.Tensor, n_rows: int) -> None:
        """Make gradients, and figures, those of all batches together: means weighted by rows, in place."""
        ...

    def normalized(self, advantages: ArrayT) -> ArrayT:
        """Do what :func:`~sb3_a2c_td.losses.normalized` does, over all batches together."""
        ...


class UnsupportedPolicyError(ValueError):
    """An engine cannot serve a policy.

    :param reason: why
    """

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine={engine!r} cannot serve this model: {reason}; use engine='auto'")
        self.reason = reason


class DivergenceError(ValueError):
    """The policy's outputs are not finite, so that no action can be drawn from them, or its parameters would be."""

    def __init__(self, reason: str = "the policy gives no valid distribution of actions") -> None:
        super().__init__(reason)


NO_STEP = "an update would make parameters infinite or NaN"


class Engine(Protocol):
    """Acts for one policy and updates it, in place.

    Whatever is put into the policy or its optimiser between two calls, weights, layers, moments or settings, counts in
    the next one.
    """

    name: str
    """as in ``TDA2C(engine=...)``"""
    policy: SeparateNetworks

    def __str__(self) -> str:
        """Say what is used, and why nothing faster."""
        ...

    def act(self, observations: Observations, action_masks: np.ndarray | None = None) -> np.ndarray:
        r"""Draw an action from :math:`\tau(\cdot|s)` for every environment.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :param action_masks: which choices are allowed, bool ``(n_envs, n_choices)``, for policies that take masks
        :return: actions before clipping or unscaling, ``(n_envs, *action_shape)``
        :raises DivergenceError: if the policy's outputs are not finite
        :raises UnsupportedPolicyError: if the policy was changed to one that the engine cannot serve
        """
        ...

    def update(self, buffer: TransitionBuffer, objective: Objective) -> Update:
        """Take one step of the optimiser on all transitions in the buffer.

        If the losses or their gradient's norm are not finite, the parameters stay as they are, and also if anything
        is raised.

        :raises DivergenceError: if the policy's outputs are not finite, or its parameters would not be after the step
        :raises UnsupportedPolicyError: if the policy was changed to one that the engine cannot serve
        """
        ...
