"""Settings of an algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_CLIPPING = 1e9
"""``max_grad_norm`` of A2C and PPO, which need a number, for no clipping"""


@dataclass(frozen=True)
class Settings:
    """An algorithm and its settings, as JSON values.

    The string ``"lin_X"`` is a rate that decays linearly from X to 0, as in RL Zoo. The name of an activation function,
    an optimiser or a features extractor stands for the class. ``{"robbins_monro": {"a": ..., "b": ..., "power": ...}}``
    stands for :func:`~sb3_a2c_td.schedules.robbins_monro_schedule`.

    :param algorithm: name of an algorithm of this package, of SB3 or of sb3-contrib, or ``"random"`` for uniformly
        random actions
    :param n_envs: number of parallel environments
    :param normalize: arguments of SB3's ``VecNormalize``, or ``None`` to train without it
    :param arguments: arguments of the algorithm
    """

    algorithm: str
    n_envs: int = 1
    normalize: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
