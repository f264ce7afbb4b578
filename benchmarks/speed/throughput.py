"""Training steps per second, relative to SB3's A2C and to the speed of the environments alone."""

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from matplotlib.figure import Figure
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.compiled_stepping import compiled_steps
from benchmarks.speed.settings import (
    AS_A2C,
    BASELINE,
    COMPILED,
    GpuSetting,
    Setting,
    learn,
    learning_speed,
    start_long_training,
)
from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import CompiledVecEnv

ENVIRONMENT = "the environments alone"
COMPILED_ENVIRONMENT = "the compiled environments alone"
PROFILED_SECONDS = 0.2
"""duration of a training under the profiler, if it did not slow it down"""
N_ACTIONS = 500
"""steps of each environment for which random actions are drawn beforehand"""


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
    """speed divided by that of the same environments alone in the same round"""
    busy: float | None = None
    """share of the time in which the GPU computes or copies; ``None``: there is none"""

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
    :return: a measurement per arm, and of the environments alone
    """
    models, compiled_models = setting.make_models(device), setting.make_compiled_models()
    turns = _turns(setting, models, compiled_models, seconds)
    speeds: dict[str, list[float]] = {arm: [] for arm in turns}
    for _ in range(rounds):
        for arm, turn in turns.items():
            speeds[arm].append(turn())
            # what a stopped measurement leaves
            line = {"setting": setting.name, "arm": arm, "steps_per_second": round(speeds[arm][-1])}
            print(json.dumps(line), file=sys.stderr, flush=True)
    a2c = [max(speeds) for speeds in zip(*(speeds[arm] for arm in turns if is_baseline(arm)), strict=True)]
    profiled = models if isinstance(setting, GpuSetting) else {}
    busy = {arm: _busy_share(model, statistics.median(speeds[arm])) for arm, model in profiled.items()}
    return [
        Measurement(
            setting.name,
            setting.n_envs if arm in (ENVIRONMENT, COMPILED_ENVIRONMENT) else (models | compiled_models)[arm].n_envs,
            arm,
            values,
            _median_ratio(values, a2c),
            _median_ratio(values, speeds[COMPILED_ENVIRONMENT if is_compiled(arm) else ENVIRONMENT]),
            busy.get(arm),
        )
        for arm, values in speeds.items()
    ]


def _turns(
    setting: Setting, models: dict[str, BaseAlgorithm], compiled_models: dict[str, TDA2C], seconds: float
) -> dict[str, Callable[[], float]]:
    """Warm everything up; return what measures the speed of each arm once."""
    for model in models.values():
        start_long_training(model, setting.warm_up_steps(model))
    for model in compiled_models.values():
        # a callback for each step would prevent compiled code
        learn(model, setting.warm_up_steps(model))
    turns: dict[str, Callable[[], float]] = {}
    for arm, model in (models | compiled_models).items():
        budget = _budget(model, setting.warm_up_steps(model) // 10, seconds)
        turns[arm] = partial(learning_speed, model, budget)
    turns[ENVIRONMENT] = partial(_environment_speed, setting, seconds)
    env = setting.make_compiled_env()
    if env is not None:
        turns[COMPILED_ENVIRONMENT] = partial(_compiled_environment_speed, env, seconds)
    return turns


def _busy_share(model: BaseAlgorithm, speed: float) -> float:
    """Return the share of the time in which the GPU computes or copies.

    The GPU's time for a step comes from PyTorch's profiler, and the whole time from turns without it, since it slows
    the CPU down.

    :param model: the model; on the CPU, the share is 0
    :param speed: its steps per second
    """
    four_rollouts = 20 * model.n_envs
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        n_taken = learn(model, four_rollouts * math.ceil(PROFILED_SECONDS * speed / four_rollouts))
        if model.device.type == "cuda":
            th.cuda.synchronize()
    return 1e-6 * gpu_microseconds(profiler.events() or ()) / n_taken * speed


def gpu_microseconds(events: Iterable[FunctionEvent]) -> float:
    """Add up the durations of computations and copies on a GPU.

    :param events: what PyTorch's profiler recorded
    """
    # the span of an annotation includes pauses
    spans = [each.time_range for each in events if each.device_type.name == "CUDA" and not each.is_user_annotation]
    return float(sum(span.elapsed_us() for span in spans))


def is_compiled(arm: str) -> bool:
    """Check whether an arm steps compiled environments."""
    return arm in (COMPILED, COMPILED_ENVIRONMENT)


def is_baseline(arm: str) -> bool:
    """Check whether an arm is A2C, or PPO with the settings of A2C."""
    return arm.startswith(BASELINE) or arm.endswith(AS_A2C)


def _median_ratio(values: list[float], others: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def _budget(model: BaseAlgorithm, n_steps: int, seconds: float) -> int:
    """Return the number of steps that takes about ``seconds``, from the speed of trainings that get longer.

    :param n_steps: the steps of the first one
    """
    speed = learning_speed(model, n_steps)
    # the first trainings in compiled code are too short to be timed
    while n_steps < seconds * speed / 10:
        n_steps *= 10
        speed = learning_speed(model, n_steps)
    return max(5 * model.n_envs, int(seconds * speed))


def _environment_speed(setting: Setting, seconds: float) -> float:
    """Return the steps per second of the environments with pre-drawn random actions."""
    env = setting.make_env()
    env.reset()
    space = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
    actions = _random_actions(space, env.num_envs)
    start = time.perf_counter()
    n_steps = 0
    while time.perf_counter() - start < seconds:
        for action in actions:
            env.step(action)
        n_steps += env.num_envs * len(actions)
    return n_steps / (time.perf_counter() - start)


def _compiled_environment_speed(env: CompiledVecEnv, seconds: float) -> float:
    """Return the steps per second of compiled environments in one compiled loop with pre-drawn random actions."""
    env.reset()
    actions = _random_actions(env.action_space, env.num_envs)
    step = compiled_steps(env, actions)
    start = time.perf_counter()
    n_steps = 0
    while time.perf_counter() - start < seconds:
        step()
        n_steps += env.num_envs * len(actions)
    return n_steps / (time.perf_counter() - start)


def _random_actions(space: spaces.Space[Any], n_envs: int) -> np.ndarray:
    """Draw actions of all environments, ``(N_ACTIONS, n_envs, *action_shape)``."""
    return np.array(batch_space(batch_space(space, n_envs), N_ACTIONS).sample())


def table(measurements: list[Measurement]) -> str:
    """Format the measurements as a Markdown table."""
    header = ["setting", "arm", "n_envs", "steps/s", "ratio to A2C", "share of the environments' speed"]
    rows = [
        [m.setting, m.arm, str(m.n_envs), f"{m.speed:,.0f}", f"{m.ratio:.2f}", f"{m.share:.1%}"] for m in measurements
    ]
    if any(m.busy is not None for m in measurements):
        header.append("GPU busy")
        rows = [[*row, "–" if m.busy is None else f"{m.busy:.0%}"] for row, m in zip(rows, measurements, strict=True)]
    return markdown_table(header, rows)


def summary(measurements: list[Measurement]) -> str:
    """Format the ratios to A2C as a Markdown table with a row per setting."""
    arms = list(dict.fromkeys(m.arm for m in measurements if not is_baseline(m.arm)))
    header = ["setting", "A2C at its best, steps/s", *arms]
    rows = []
    for setting in dict.fromkeys(m.setting for m in measurements):
        of_setting = [m for m in measurements if m.setting == setting]
        fastest = max(m.speed for m in of_setting if is_baseline(m.arm))
        ratios = {m.arm: f"{m.ratio:,.1f}" for m in of_setting}
        rows.append([f"`{setting}`", f"{fastest:,.0f}", *(ratios.get(arm, "–") for arm in arms)])
    return markdown_table(header, rows)


def as_records(measurements: list[Measurement]) -> list[dict[str, Any]]:
    """Convert the measurements to JSON values."""
    return [{**asdict(m), "speed": m.speed} for m in measurements]


def from_records(records: Iterable[dict[str, Any]]) -> list[Measurement]:
    """Convert the JSON values of :func:`as_records` back."""
    return [Measurement(**{name: value for name, value in record.items() if name != "speed"}) for record in records]


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
        if measurement.arm not in (ENVIRONMENT, COMPILED_ENVIRONMENT):
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
