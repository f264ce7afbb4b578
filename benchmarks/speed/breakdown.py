"""Breakdown of the time of a training step into its parts."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.speed.settings import Setting, learn, start_long_training
from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C

PARTS = ("environments", "acting", "updating", "the rest")


@dataclass(frozen=True)
class Breakdown:
    """Microseconds of one arm per step of all environments: medians over the rounds."""

    setting: str
    n_envs: int
    arm: str
    microseconds: dict[str, float]
    """by part, see :data:`PARTS`"""


def measure(setting: Setting, device: str, rounds: int, seconds: float) -> list[Breakdown]:
    """Time the parts of each arm's steps. The arms take turns.

    :param setting: what to train on
    :param device: device of the policies
    :param rounds: number of turns per arm
    :param seconds: approximate duration of a turn
    :return: a breakdown per arm
    """
    models = setting.make_models(device)
    timers = {arm: Timers(model) for arm, model in models.items()}
    n_steps = {arm: _warm_up(setting, model, seconds) for arm, model in models.items()}
    rows: dict[str, list[dict[str, float]]] = {arm: [] for arm in models}
    for _ in range(rounds):
        for arm, model in models.items():
            rows[arm].append(timers[arm].microseconds_per_step(model, n_steps[arm]))
    breakdowns = []
    for arm, model in models.items():
        medians = {part: median(row[part] for row in rows[arm]) for part in PARTS}
        breakdowns.append(Breakdown(setting.name, model.n_envs, arm, medians))
    return breakdowns


def _warm_up(setting: Setting, model: BaseAlgorithm, seconds: float) -> int:
    """Compile everything, and return the number of steps that takes about ``seconds``."""
    n_steps = setting.warm_up_steps(model)
    start_long_training(model, n_steps)
    start = time.perf_counter()
    speed = learn(model, n_steps) / (time.perf_counter() - start)
    return max(5, int(seconds * speed / model.n_envs)) * model.n_envs


class Timers:
    """Timers of an algorithm's parts, from wrappers around its methods.

    :param model: the algorithm
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._seconds = dict.fromkeys(PARTS[:-1], 0.0)
        self._wrap(model.get_env(), "step", "environments")
        self._wrap(model, "train", "updating")
        if isinstance(model, TDA2C):
            self._wrap(model, "sample_actions", "acting")
        else:
            self._wrap(model.policy, "forward", "acting")

    def _wrap(self, owner: object, method: str, part: str) -> None:
        wrapped: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return wrapped(*args, **kwargs)
            finally:
                self._seconds[part] += time.perf_counter() - start

        setattr(owner, method, timed)

    def microseconds_per_step(self, model: BaseAlgorithm, n_steps: int) -> dict[str, float]:
        """Continue training and measure each part.

        :param model: the algorithm
        :param n_steps: environment steps to train
        :return: microseconds per step of all environments, by part
        """
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        start = time.perf_counter()
        n_steps = learn(model, n_steps)
        total = time.perf_counter() - start
        seconds = {**self._seconds, PARTS[-1]: total - sum(self._seconds.values())}
        return {part: 1e6 * value / (n_steps / model.n_envs) for part, value in seconds.items()}


def table(breakdowns: list[Breakdown]) -> str:
    """Format the breakdowns as a Markdown table."""
    header = ["setting", "arm", *PARTS, "total"]
    rows = []
    for each in breakdowns:
        times = [each.microseconds[part] for part in PARTS]
        rows.append([each.setting, each.arm, *(f"{value:,.1f}" for value in (*times, sum(times)))])
    return markdown_table(header, rows)


def as_records(breakdowns: list[Breakdown]) -> list[dict[str, object]]:
    """Convert the breakdowns to JSON values."""
    return [asdict(each) for each in breakdowns]
