"""Where the time of a training step goes."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.speed.settings import Setting, learn
from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C

PARTS = ("environments", "acting", "updating", "the rest")


@dataclass(frozen=True)
class Breakdown:
    """Microseconds that one step of all environments takes one arm: medians over the rounds."""

    setting: str
    n_envs: int
    arm: str
    microseconds: dict[str, float]
    """of each of :data:`PARTS`"""


def measure(setting: Setting, device: str, rounds: int, seconds: float) -> list[Breakdown]:
    """Time the parts of each arm's steps, the arms taking turns.

    :param setting: what to train on
    :param device: where the policies are
    :param rounds: the number of turns
    :param seconds: about how long a turn takes
    """
    models = setting.make_models(device)
    timers = {arm: Timers(model) for arm, model in models.items()}
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in models}
    budgets = {}
    for arm, model in models.items():
        n_steps = setting.warm_up_steps(model)
        learn(model, n_steps)
        start = time.perf_counter()
        learn(model, n_steps)
        speed = n_steps / (time.perf_counter() - start)
        budgets[arm] = max(5, int(seconds * speed / model.n_envs)) * model.n_envs
    for _ in range(rounds):
        for arm, model in models.items():
            found[arm].append(timers[arm].of_a_step(model, budgets[arm]))
    return [
        Breakdown(
            setting.name, models[arm].n_envs, arm, {part: median(times[part] for times in rows) for part in PARTS}
        )
        for arm, rows in found.items()
    ]


class Timers:
    """Times an algorithm's parts from outside.

    :param model: the algorithm, whose methods are wrapped
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

    def of_a_step(self, model: BaseAlgorithm, n_steps: int) -> dict[str, float]:
        """Train on and give the microseconds of each part, for a step of all environments."""
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        start = time.perf_counter()
        learn(model, n_steps)
        total = time.perf_counter() - start
        seconds = {**self._seconds, PARTS[-1]: total - sum(self._seconds.values())}
        return {part: 1e6 * value / (n_steps / model.n_envs) for part, value in seconds.items()}


def table(breakdowns: list[Breakdown]) -> str:
    """Lay the breakdowns out."""
    header = ["setting", "arm", *PARTS, "total"]
    rows = []
    for b in breakdowns:
        times = [b.microseconds[part] for part in PARTS]
        rows.append([b.setting, b.arm, *(f"{value:,.1f}" for value in (*times, sum(times)))])
    return markdown_table(header, rows)


def as_records(breakdowns: list[Breakdown]) -> list[dict[str, object]]:
    """Give the breakdowns as plain data."""
    return [asdict(b) for b in breakdowns]
