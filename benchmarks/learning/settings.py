"""An algorithm and how it is set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """An algorithm and how it is set, in plain values as they stand in a JSON file.

    A string ``"lin_X"`` is a rate that falls linearly from X to 0, as in RL Zoo; the name of an activation, an
    optimiser or a features extractor stands for the class; ``{"robbins_monro": {"a": ..., "b": ..., "power": ...}}``
    for :func:`~sb3_a2c_td.schedules.robbins_monro_schedule`.

    :param algorithm: the name of an algorithm of this package, of SB3 or of sb3-contrib, or ``"random"`` for actions
        drawn uniformly
    :param n_envs: environments side by side
    :param normalize: arguments of SB3's ``VecNormalize``; ``None``: without it
    :param arguments: arguments of the algorithm
    """

    algorithm: str
    n_envs: int = 1
    normalize: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
