"""Training steps per second, relative to SB3's A2C and to the speed of the environments alone."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from gymnasium.vector import VectorEnv
from matplotlib.figure import Figure
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.speed.settings import AS_A2C, BASELINE, Setting, learn
from benchmarks.tables import markdown_table

ENVIRONMENT = "the environments alone"


@dataclass(frozen=True)
class Measurement:
    """One arm in one setting. Ratios and shares are medians over the rounds."""

    setting: str
    n_envs: int
    arm: str
    speeds: list[float]
    """steps per second of all environments together, in each round"""
    ratio: float
    """speed divided by A2C's in the same round (by that of the fastest A2C, if there are several)"""
    share: float
    """speed divided by that of the environments alone in the same round"""

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.speeds)


def measure(setting: Setting, device: str, rounds: int, seconds: float) -> list[Measurement]:
    """Measure the arms and the environments alone in turns.

    :param setting: what to train on
    :param device: device of the policies
    :param rounds: number of turns per arm
    :param seconds: approximate duration of a turn
    :return: a measurement per arm, and one of the environments alone
    """
    models = setting.make_models(device)
    n_envs = {arm: model.n_envs for arm, model in models.items()} | {ENVIRONMENT: setting.n_envs}
    budgets = {arm: _warm_up(model, setting, seconds) for arm, model in models.items()}
    speeds: dict[str, list[float]] = {arm: [] for arm in (*models, ENVIRONMENT)}
    for _ in range(rounds):
        for arm, model in models.items():
            speeds[arm].append(_learning_speed(model, budgets[arm]))
        speeds[ENVIRONMENT].append(_environment_speed(setting, seconds))
    a2c = [max(speeds) for speeds in zip(*(speeds[arm] for arm in models if is_baseline(arm)), strict=True)]
    return [
        Measurement(
            setting.name,
            n_envs[arm],
            arm,
            values,
            _median_ratio(values, a2c),
            _median_ratio(values, speeds[ENVIRONMENT]),
        )
        for arm, values in speeds.items()
    ]


def is_baseline(arm: str) -> bool:
    """Check whether an arm is A2C, or PPO with the settings of A2C."""
    return arm.startswith(BASELINE) or arm.endswith(AS_A2C)


def _median_ratio(values: list[float], others: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def _learning_speed(model: BaseAlgorithm, n_steps: int) -> float:
    """Continue the training of a model, and return the steps per second."""
    start = time.perf_counter()
    learn(model, n_steps)
    return n_steps / (time.perf_counter() - start)


def _warm_up(model: BaseAlgorithm, setting: Setting, seconds: float) -> int:
    """Compile everything, and return the number of steps that takes about ``seconds``."""
    n_steps = setting.warm_up_steps(model)
    learn(model, n_steps)
    n_steps = max(n_steps // 10, 5 * model.n_envs)
    return max(n_steps, int(seconds * _learning_speed(model, n_steps)))


def _environment_speed(setting: Setting, seconds: float) -> float:
    """Return the steps per second of the environments with pre-drawn random actions."""
    env = setting.make_env()
    env.reset()
    space = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
    actions = [np.array([space.sample() for _ in range(env.num_envs)]) for _ in range(500)]
    start = time.perf_counter()
    n_steps = 0
    while time.perf_counter() - start < seconds:
        for action in actions:
            env.step(action)
        n_steps += env.num_envs * len(actions)
    return n_steps / (time.perf_counter() - start)


def table(measurements: list[Measurement]) -> str:
    """Format the measurements as a Markdown table."""
    header = ["setting", "arm", "n_envs", "steps/s", "ratio to A2C", "share of the environments' speed"]
    rows = [
        [m.setting, m.arm, str(m.n_envs), f"{m.speed:,.0f}", f"{m.ratio:.2f}", f"{m.share:.1%}"] for m in measurements
    ]
    return markdown_table(header, rows)


def as_records(measurements: list[Measurement]) -> list[dict[str, object]]:
    """Convert the measurements to JSON values."""
    return [{**asdict(m), "speed": m.speed} for m in measurements]


def plot(measurements: list[Measurement], title: str, path: Path) -> None:
    """Write the picture of :func:`draw` to a file.

    :param measurements: the measurements
    :param title: title of the picture
    :param path: the file
    """
    figure = draw(measurements)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def draw(measurements: Sequence[Measurement]) -> Figure:
    """Draw a bar chart of the arms' ratios to A2C, with a panel per setting."""
    panels: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.arm != ENVIRONMENT:
            panels.setdefault(measurement.setting, []).append(measurement)
    heights = [0.7 + 0.25 * len(shown) for shown in panels.values()]
    figure = Figure(figsize=(8, 0.5 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
    for panel, (setting, shown) in zip(axes[:, 0], panels.items(), strict=True):
        colours = ["tab:gray" if is_baseline(m.arm) else "tab:blue" for m in shown]
        bars = panel.barh([m.arm for m in shown], [m.ratio for m in shown], color=colours)
        labels = [f"{m.ratio:.2f}  ({m.share:.1%} of the environments' speed)" for m in shown]
        panel.bar_label(bars, labels, padding=3, fontsize="small")
        panel.set_xlim(0, 1.9 * max(m.ratio for m in shown))
        panel.invert_yaxis()
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_title(setting, loc="left", fontsize="medium")
    axes[-1, 0].set_xlabel("steps per second, as a ratio to SB3's A2C")
    return figure
