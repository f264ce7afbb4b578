r"""Learning rates: numbers, strings such as ``"lin_1e-3"``, functions of the progress remaining.

Among these are the step sizes :math:`\alpha_t = a / (b + t)^p`, and the conditions of Robbins and Monro on them.

Source: Robbins & Monro, *A Stochastic Approximation Method* (1951), https://doi.org/10.1214/aoms/1177729586.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import overload

import numpy as np
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule

from sb3_a2c_td.arguments import check_number, is_finite_number

LINEAR = "lin_"
"""begins the strings that stand for rates that fall to 0, as in RL Zoo"""


def linear_schedule(rate: float) -> LinearSchedule:
    """Give the learning rates that fall linearly from a first one to 0, which ``"lin_..."`` stands for.

    :param rate: the rate at the beginning, at least 0
    :return: a function of the progress remaining, which can be pickled
    :raises ValueError: if the rate is no finite number of at least 0
    """
    check_number("rate", rate, low=0.0)
    return LinearSchedule(float(rate), end=0.0, end_fraction=1.0)


def checked_learning_rate(name: str, value: float | str | Schedule) -> float | Schedule:
    """Check a learning rate; what a schedule returns is checked when it is asked, by :func:`scheduled_rate`.

    :param name: the argument's name, for the error
    :param value: a number, ``"lin_1e-3"`` for one that falls linearly from 1e-3 to 0, or a schedule
    :return: the schedule, or the number as a ``float``, which numpy's ``float32`` is not
    :raises ValueError: if it is neither a schedule nor a finite number of at least 0, nor a string of that form
    """
    if callable(value):
        return value
    if isinstance(value, str):
        return _parsed(name, value)
    check_number(name, value, low=0.0)
    return float(value)


def _parsed(name: str, text: str) -> LinearSchedule:
    # Python reads "1_000" as a number
    if text.startswith(LINEAR) and "_" not in text.removeprefix(LINEAR):
        with suppress(ValueError):
            return linear_schedule(float(text.removeprefix(LINEAR)))
    raise ValueError(
        f"{name}={text!r} is no learning rate: a string must be of the form 'lin_1e-3', for a rate that falls linearly "
        "from 1e-3 to 0; for a constant one pass a number (YAML reads one in 0.001 and 1.0e-3, but not in 1e-3)"
    )


def scheduled_rate(name: str, schedule: Schedule, progress_remaining: float) -> float:
    """Ask a schedule for a learning rate and check it.

    :raises ValueError: if the schedule gives something else than a finite number of at least 0
    """
    rate = schedule(progress_remaining)
    if not is_finite_number(rate, low=0.0):
        raise ValueError(
            f"{name}: the schedule's value at progress_remaining={progress_remaining:g} must be a finite number at "
            f"least 0, got {rate!r}"
        )
    return rate


@dataclass(frozen=True)
class PowerLaw:
    r"""The step sizes :math:`\alpha_t = a / (b + t)^p` for :math:`t = 0, 1, \dots`

    :param a: :math:`a`, above 0
    :param b: :math:`b`, above 0
    :param power: :math:`p`, at least 0; 0 is the constant step :math:`a`
    :raises ValueError: for an argument out of these bounds
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
        r"""Give :math:`\alpha_t`.

        :param t: :math:`t`, at least 0, one or an array of any shape
        :return: :math:`\alpha_t`, in the shape of ``t``
        """
        return self.a / (self.b + t) ** self.power

    @property
    def sum_diverges(self) -> bool:
        r"""Whether :math:`\sum \alpha_t = \infty`, so that any distance can be covered: where :math:`p \le 1`."""
        return self.power <= 1.0

    @property
    def sum_of_squares_converges(self) -> bool:
        r"""Whether :math:`\sum \alpha_t^2 < \infty`, so that the noise dies away: where :math:`p > 1/2`."""
        return self.power > 0.5


def check_robbins_monro(steps: PowerLaw) -> None:
    r"""Check that :math:`\sum \alpha_t = \infty` and :math:`\sum \alpha_t^2 < \infty`.

    By comparison with :math:`\int t^{-p} dt`, that is :math:`1/2 < p \le 1`; nothing is summed.

    :param steps: the step sizes
    :raises ValueError: if one of the two does not hold, saying which
    """
    if not steps.sum_diverges:
        raise ValueError(
            f"power={steps.power!r}: the sum of a / (b + t)^power must be infinite, or the iterates stop before they "
            "arrive; use a power of at most 1"
        )
    if not steps.sum_of_squares_converges:
        raise ValueError(
            f"power={steps.power!r}: the sum of the squares of a / (b + t)^power must be finite, or the noise never "
            "dies away; use a power above 0.5 (for a constant step, pass the number instead of a schedule)"
        )


@dataclass(frozen=True)
class RobbinsMonroSchedule:
    """Power-law step sizes as SB3 asks for them, see :func:`robbins_monro_schedule`.

    :param steps: the step sizes
    :param total_timesteps: the number of environment steps that the progress runs over
    """

    steps: PowerLaw
    total_timesteps: int

    def __post_init__(self) -> None:
        check_robbins_monro(self.steps)
        check_number("total_timesteps", self.total_timesteps, low=0.0, low_is_valid=False)

    def __call__(self, progress_remaining: float) -> float:
        """Give the step size.

        :param progress_remaining: from 1, at the beginning, to 0
        """
        return self.steps(self.total_timesteps * (1.0 - progress_remaining))


def robbins_monro_schedule(a: float, b: float, power: float, total_timesteps: int = 100_000) -> RobbinsMonroSchedule:
    r"""Give the learning rates :math:`\alpha_t = a / (b + t)^p`, for ``learning_rate`` or ``critic_learning_rate``.

    :math:`t` is the model's ``num_timesteps``: all environment steps of all environments so far. SB3 tells a schedule
    only the progress remaining of the run, from 1 to 0, so the schedule has to know the number of steps that the
    progress runs over: what ``learn`` is called with. Then :math:`\alpha_t` does not depend on where the run is
    stopped: a longer run with its own ``total_timesteps`` begins with the same step sizes. Nothing is counted in
    the schedule itself, so it may be saved, loaded and shared.

    A second ``learn(M)`` begins again at :math:`t = 0`. With ``reset_num_timesteps=False`` SB3 measures the progress
    over both calls: give the model a schedule of ``total_timesteps=N + M`` before the second, by
    ``TDA2C.load(path, env, learning_rate=...)``, and it goes on at :math:`t = N`. With another number :math:`t` is
    stretched by their ratio, which for large :math:`t` only multiplies :math:`a`.

    What Adam makes of the rates is no Robbins–Monro iteration to the letter; that of plain gradient steps is
    (``policy_kwargs=dict(optimizer_class=torch.optim.SGD)``).

    :param a: :math:`a`, above 0
    :param b: :math:`b`, in steps, above 0
    :param power: :math:`p`, above 1/2 and at most 1
    :param total_timesteps: what ``learn`` is called with; the default is that of ``TDA2C.learn``
    :return: a function of the progress remaining, which can be pickled
    :raises ValueError: for an argument out of bounds, among them those with which
        :math:`\sum \alpha_t = \infty` or :math:`\sum \alpha_t^2 < \infty` does not hold
    """
    return RobbinsMonroSchedule(PowerLaw(a, b, power), total_timesteps)
