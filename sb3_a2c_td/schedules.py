r"""Learning rates: numbers, strings such as ``"lin_1e-3"``, and functions of the remaining progress.

The Robbins–Monro schedules are the step sizes :math:`\alpha_t = a / (b + t)^p`, with the conditions that make
stochastic approximation converge, under the conditions on the sampled function that ``docs/theory.md`` states.

Source: Robbins & Monro, *A Stochastic Approximation Method* (1951), https://doi.org/10.1214/aoms/1177729586.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import overload

import numpy as np
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule

from sb3_a2c_td.arguments import check_number, is_finite_number

LINEAR_PREFIX = "lin_"
"""prefix of the strings for rates that decay linearly to 0, as in RL Zoo"""


def linear_schedule(rate: float) -> LinearSchedule:
    """Make a learning rate that decays linearly to 0, the meaning of ``"lin_..."``.

    :param rate: initial rate, at least 0
    :return: a picklable function of the remaining progress
    :raises ValueError: if the rate is not a finite number of at least 0
    """
    check_number("rate", rate, low=0.0)
    return LinearSchedule(float(rate), end=0.0, end_fraction=1.0)


def checked_learning_rate(name: str, value: float | str | Schedule) -> float | Schedule:
    """Check a learning rate and convert it to a ``float`` or a schedule.

    The rates that a schedule returns are checked by :func:`scheduled_rate` when it is called.

    :param name: name of the argument, for the error
    :param value: a number, ``"lin_1e-3"`` for a rate that decays linearly from 1e-3 to 0, or a schedule
    :return: the schedule, or the number as a Python ``float`` (numpy's ``float32`` is converted)
    :raises ValueError: if the value is neither a schedule, a finite number of at least 0, nor a string of this form
    """
    if callable(value):
        return value
    if isinstance(value, str):
        return _parsed(name, value)
    check_number(name, value, low=0.0)
    return float(value)


def _parsed(name: str, text: str) -> LinearSchedule:
    # Python reads "1_000" as a number
    number = text.removeprefix(LINEAR_PREFIX)
    if text.startswith(LINEAR_PREFIX) and "_" not in number:
        with suppress(ValueError):
            return linear_schedule(float(number))
    raise ValueError(
        f"{name}={text!r} is not a learning rate. Use 'lin_1e-3' for a rate that decays linearly from 1e-3 to 0, or "
        "pass a number for a constant rate (YAML reads 0.001 and 1.0e-3 as numbers, but 1e-3 as a string)."
    )


def scheduled_rate(name: str, schedule: Schedule, progress_remaining: float) -> float:
    """Call a schedule and check the learning rate that it returns.

    :param name: name of the schedule's argument, for the error
    :param schedule: the schedule
    :param progress_remaining: from 1 at the beginning to 0 at the end
    :return: the learning rate
    :raises ValueError: if the schedule does not return a finite number of at least 0
    """
    rate = schedule(progress_remaining)
    if not is_finite_number(rate, low=0.0):
        raise ValueError(
            f"{name}: the schedule's value at progress_remaining={progress_remaining:g} must be a finite number of at "
            f"least 0, got {rate!r}"
        )
    return rate


@dataclass(frozen=True)
class PowerLaw:
    r"""The step sizes :math:`\alpha_t = a / (b + t)^p` for :math:`t = 0, 1, \dots`

    :param a: :math:`a`, above 0
    :param b: :math:`b`, above 0
    :param power: :math:`p`, at least 0; with 0 the step size is the constant :math:`a`
    :raises ValueError: if an argument is out of bounds
    """

    a: float
    b: float
    power: float

    def __post_init__(self) -> None:
        check_number("a", self.a, low=0.0, low_is_valid=False)
        check_number("b", self.b, low=0.0, low_is_valid=False)
        check_number("power", self.power, low=0.0)

    @overload
    def __call__(self, t: float) -> float: ...

    @overload
    def __call__(self, t: np.ndarray) -> np.ndarray: ...

    def __call__(self, t: float | np.ndarray) -> float | np.ndarray:
        r"""Compute :math:`\alpha_t`.

        :param t: :math:`t`, at least 0, a number or an array of any shape
        :return: :math:`\alpha_t`, in the shape of ``t``
        """
        return self.a / (self.b + t) ** self.power

    @property
    def sum_diverges(self) -> bool:
        r"""Whether :math:`\sum \alpha_t = \infty`, so that the iterates can cover any distance: :math:`p \le 1`."""
        return self.power <= 1.0

    @property
    def sum_of_squares_converges(self) -> bool:
        r"""Whether :math:`\sum \alpha_t^2 < \infty`: :math:`p > 1/2`."""
        return self.power > 0.5


def check_robbins_monro(steps: PowerLaw) -> None:
    r"""Check that :math:`\sum \alpha_t = \infty` and :math:`\sum \alpha_t^2 < \infty`.

    By comparison with :math:`\int t^{-p} dt`, both hold if and only if :math:`1/2 < p \le 1`.

    :param steps: step sizes
    :raises ValueError: if one of the two does not hold; the message says which
    """
    if not steps.sum_diverges:
        raise ValueError(
            f"power={steps.power!r}: the sum of a / (b + t)^power must be infinite, or the iterates stop before they "
            "reach the solution. Use a power of at most 1."
        )
    if not steps.sum_of_squares_converges:
        raise ValueError(
            f"power={steps.power!r}: the sum of the squares of a / (b + t)^power must be finite, which is the second "
            "condition of Robbins and Monro. Use a power above 0.5, or pass a number for a constant step size."
        )


@dataclass(frozen=True)
class RobbinsMonroSchedule:
    """Power-law step sizes as an SB3 schedule, see :func:`robbins_monro_schedule`.

    :param steps: step sizes
    :param total_timesteps: number of environment steps over which the remaining progress falls from 1 to 0
    :raises ValueError: if an argument is out of bounds or the step sizes violate :func:`check_robbins_monro`
    """

    steps: PowerLaw
    total_timesteps: int

    def __post_init__(self) -> None:
        check_robbins_monro(self.steps)
        check_number("total_timesteps", self.total_timesteps, low=0.0, low_is_valid=False)

    def __call__(self, progress_remaining: float) -> float:
        """Compute the step size.

        :param progress_remaining: from 1 at the beginning to 0 at the end
        :return: the step size
        """
        return self.steps(self.total_timesteps * (1.0 - progress_remaining))


def robbins_monro_schedule(a: float, b: float, power: float, total_timesteps: int = 100_000) -> RobbinsMonroSchedule:
    r"""Make the learning rate :math:`\alpha_t = a / (b + t)^p`, for ``learning_rate`` or ``critic_learning_rate``.

    :math:`t` is the model's ``num_timesteps``, the steps of all environments so far. SB3 passes a schedule only the
    remaining progress of the run, so the schedule needs the ``total_timesteps`` that ``learn`` is called with. Then
    :math:`\alpha_t` does not depend on the length of the run: a longer run with its own ``total_timesteps`` starts with
    the same step sizes. The schedule has no state, so it can be saved, loaded and shared.

    A second ``learn(M)`` restarts at :math:`t = 0`. With ``reset_num_timesteps=False``, SB3 measures the progress over
    both calls. To continue at :math:`t = N`, load the model with a new schedule before the second call:
    ``TDA2C.load(path, env, learning_rate=robbins_monro_schedule(..., total_timesteps=N + M))``. Any other number
    stretches :math:`t` by the ratio of the two, which for large :math:`t` only multiplies :math:`a`.

    With Adam the update is not a Robbins–Monro iteration in the strict sense. With plain gradient steps it is:
    ``policy_kwargs=dict(optimizer_class=torch.optim.SGD)``. The critic's steps are then :math:`2 \alpha_t / N`, since
    its loss is the mean of N squares.

    :param a: :math:`a`, above 0
    :param b: :math:`b`, in steps, above 0
    :param power: :math:`p`, above 1/2 and at most 1
    :param total_timesteps: the ``total_timesteps`` of ``learn``; the default is that of ``TDA2C.learn``
    :return: a picklable function of the remaining progress
    :raises ValueError: if an argument is out of bounds, or if :math:`\sum \alpha_t = \infty` or
        :math:`\sum \alpha_t^2 < \infty` does not hold
    """
    return RobbinsMonroSchedule(PowerLaw(a, b, power), total_timesteps)
