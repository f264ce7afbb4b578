"""The interface of engines, and the data that they exchange with the algorithms."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
import torch as th

from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.policies.separate import SeparateNetworks
from sb3_a2c_td.rollout.observations import ArrayT, Observations
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions


class LossConfig(NamedTuple):
    """The settings of the loss; see the arguments of :class:`~sb3_a2c_td.TDA2C` of the same names."""

    gamma: float
    reward_scale: float
    bootstrap_on_truncation: bool
    double_softmax: bool
    ent_coef: float
    max_grad_norm: float | None
    normalize_advantage: bool

    def ended(self, batch: Transitions[ArrayT]) -> ArrayT:
        """Check after which transitions no value is bootstrapped.

        :param batch: ``N`` transitions
        :return: bool ``(N,)``
        """
        return batch.terminated if self.bootstrap_on_truncation else batch.terminated | batch.truncated


class Update(NamedTuple):
    """What an update computed, with the parameters from before its step."""

    targets: np.ndarray
    """TD targets, ``(N,)`` float32"""
    values: np.ndarray
    """V(s), ``(N,)`` float32"""
    actor_loss: float
    critic_loss: float
    entropy_loss: float
    """the mean entropy, negated"""
    grad_norm: float
    """norm of the gradient of all parameters together, before clipping"""
    td_error: float
    """mean of the TD errors"""
    td_error_std: float
    explained_variance: float
    """the share of the targets' variance that the values explain; NaN if all targets are equal"""


class GradientReducer(Protocol):
    """Combines the gradients of the processes that train one policy together, each on its own batch."""

    def reduce(self, parameters: Iterable[th.Tensor], metrics: th.Tensor, n_rows: int) -> None:
        """Average gradients and metrics over all processes, weighted by their rows, in place.

        :param parameters: the parameters, whose ``grad`` is averaged
        :param metrics: numbers to average with them, one axis
        :param n_rows: rows in the batch of this process
        """
        ...

    def normalize(self, advantages: ArrayT) -> ArrayT:
        """Normalize advantages over the batches of all processes, see :func:`~sb3_a2c_td.losses.normalized`.

        :param advantages: those of this process, ``(N,)``
        """
        ...


class UnsupportedPolicyError(ValueError):
    """An engine does not support a policy.

    :param engine: the engine's name
    :param reason: what it does not support
    """

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine={engine!r} does not support this model: {reason}; use engine='auto'")
        self.reason = reason


class DivergenceError(ValueError):
    """The policy's outputs are not finite, or its parameters would not be after an update.

    :param reason: which of the two
    """

    def __init__(self, reason: str = "the policy's action distribution is not finite") -> None:
        super().__init__(reason)


INFINITE_STEP = "an update would make parameters infinite or NaN"


class Engine(Protocol):
    """Acts for one policy and updates it, in place.

    Changes of weights, moments and settings in place take effect at the next call. A structural change (another layer,
    tensor, optimizer or hook) takes effect at the next :meth:`refresh`.
    """

    policy: SeparateNetworks

    def __str__(self) -> str:
        """Name the engine in use, and say why no faster one is."""
        ...

    def refresh(self) -> None:
        """Look for structural changes of the policy and its optimizer, and adapt to them.

        :raises UnsupportedPolicyError: if the engine does not support the policy any more
        """
        ...

    def act(
        self, observations: Observations, streams: RandomStreams, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        r"""Draw an action from :math:`\pi(\cdot|s)` for every environment.

        :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
        :param streams: the model's random generators
        :param action_masks: which choices are allowed, bool ``(n_envs, n_choices)``, for maskable policies
        :return: actions before clipping or unscaling, ``(n_envs, *action_shape)``
        :raises DivergenceError: if the policy's outputs are not finite
        """
        ...

    def update(self, buffer: TransitionBuffer, config: LossConfig, streams: RandomStreams) -> Update:
        """Take one step of the optimizer on all transitions in the buffer.

        The parameters stay as they are if anything is raised, or if a loss or the gradient's norm is not finite.

        :param buffer: the transitions of a rollout
        :param config: the settings of the loss
        :param streams: the model's random generators
        :raises DivergenceError: if the policy's outputs are not finite, or its parameters would not be after the step
        """
        ...
