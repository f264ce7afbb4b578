"""How training speed scales with the number of ranks, on an environment that is slow enough to need several."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
import torch.distributed as dist
from gymnasium import spaces
from matplotlib.figure import Figure
from scipy.optimize import nnls
from stable_baselines3.common.env_util import make_vec_env
from threadpoolctl import threadpool_limits

from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C
from sb3_a2c_td.algorithms.distributed import DistributedTDA2C

STEP_SECONDS = 1e-3
N_ENVS = (1, 4, 8, 16)
"""environments per rank"""
N_STEPS = 5
N_MACHINES = 64
"""the number of machines that the model predicts the speed of"""


class SlowEnv(gym.Env[np.ndarray, np.int64]):
    """Uses a millisecond of CPU time in every step, as a simulator might."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (16,), np.float32)
        self.action_space = spaces.Discrete(4)
        self._n_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self._n_steps = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Use the CPU, and reward one action of four."""
        end = time.thread_time() + STEP_SECONDS
        while time.thread_time() < end:
            pass
        self._n_steps += 1
        return self._observation(), float(action == self._n_steps % 4), self._n_steps >= 100, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 16).astype(np.float32)


@dataclass(frozen=True)
class Measurement:
    """The speed of a number of ranks with a number of environments each."""

    ranks: int
    n_envs: int
    speeds: list[float]
    """steps per second of all ranks together, in each round"""
    efficiency: float
    """the speed as a share of ``ranks`` times that of one process in the same round; the median of the rounds"""

    @property
    def speed(self) -> float:
        """The median of the rounds, in steps per second."""
        return statistics.median(self.speeds)

    @property
    def rollout_seconds(self) -> float:
        """The time of a rollout and its update."""
        return N_STEPS * self.n_envs * self.ranks / self.speed


def measure(ranks: Sequence[int], n_envs: int, rounds: int, seconds: float) -> list[Measurement]:
    """Measure groups of processes in turns. One rank is TDA2C in one process, without a process group.

    :param ranks: the sizes of the groups; 1 is always measured, too
    :param n_envs: environments per rank
    :param rounds: the number of turns of each group
    :param seconds: the approximate duration of a turn
    :return: one measurement per size
    """
    n_steps = int(seconds / STEP_SECONDS / n_envs) * n_envs
    speeds: dict[int, list[float]] = {size: [] for size in {1, *ranks}}
    with _started_groups(sorted(speeds), n_envs) as groups:
        for connections in groups.values():
            # warm up
            _training_speed(connections, n_steps // 10)
        for _ in range(rounds):
            for size, connections in groups.items():
                speeds[size].append(_training_speed(connections, n_steps * size))
    return [Measurement(size, n_envs, speeds[size], _efficiency(size, speeds[size], speeds[1])) for size in speeds]


def _efficiency(size: int, speeds: Sequence[float], speeds_of_one: Sequence[float]) -> float:
    return statistics.median(speed / size / one for speed, one in zip(speeds, speeds_of_one, strict=True))


@contextmanager
def _started_groups(sizes: Sequence[int], n_envs: int) -> Iterator[dict[int, list[Connection]]]:
    """Start the ranks of all groups; yield a connection to each rank, by the size of its group."""
    context = get_context("spawn")
    groups: dict[int, list[Connection]] = {size: [] for size in sizes}
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        for size, connections in groups.items():
            for rank in range(size):
                connection, connection_of_rank = context.Pipe()
                connections.append(connection)
                arguments = (connection_of_rank, rank, size, n_envs, f"file://{folder}/{size}")
                process = context.Process(target=_run_rank, args=arguments, daemon=True)
                process.start()
                processes.append(process)
        yield groups
        for connections in groups.values():
            for connection in connections:
                connection.send(None)
        for process in processes:
            process.join()


def _run_rank(connection: Connection, rank: int, size: int, n_envs: int, init_method: str) -> None:
    """Train for each number of steps that is received, until it is ``None``; send the seconds back."""
    th.set_num_threads(1)
    algorithm = TDA2C
    if size > 1:
        timeout = timedelta(hours=1)
        dist.init_process_group("gloo", init_method=init_method, rank=rank, world_size=size, timeout=timeout)
        algorithm = DistributedTDA2C
    env = make_vec_env(SlowEnv, n_envs)
    with threadpool_limits(1):
        model = algorithm("MlpPolicy", env, n_steps=N_STEPS, update_on_episode_end=False, device="cpu")
        for n_steps in iter(connection.recv, None):
            start = time.perf_counter()
            model.learn(n_steps, callback=lambda locals_, globals_: True, reset_num_timesteps=False)
            connection.send(time.perf_counter() - start)
    if dist.is_initialized():
        dist.destroy_process_group()


def _training_speed(connections: Sequence[Connection], n_steps: int) -> float:
    """Let a group train for a number of steps; return its steps per second."""
    for connection in connections:
        connection.send(n_steps)
    seconds: list[float] = [connection.recv() for connection in connections]
    return n_steps / max(seconds)


@dataclass(frozen=True)
class Model:
    """Models the time of a rollout of n environments on each of k ranks, with its update.

    It takes ``fixed + per_env * n + per_hop * 2 (k - 1)`` seconds, since an all-reduce in a ring sends 2 (k - 1)
    messages one after another.
    """

    fixed: float
    per_env: float
    per_hop: float

    def speed(self, ranks: int, n_envs: int) -> float:
        """Predict the steps per second."""
        return N_STEPS * n_envs * ranks / (self.fixed + self.per_env * n_envs + self.per_hop * 2 * (ranks - 1))

    def efficiency(self, ranks: int, n_envs: int) -> float:
        """Predict the speed as a share of ``ranks`` times that of one rank."""
        return self.speed(ranks, n_envs) / (ranks * self.speed(1, n_envs))


def fitted(measurements: Sequence[Measurement]) -> Model:
    """Fit the model by least squares of the relative errors, with non-negative costs."""
    rows = np.array([[1, m.n_envs, 2 * (m.ranks - 1)] for m in measurements])
    seconds = np.array([m.rollout_seconds for m in measurements])
    costs, _ = nnls(rows / seconds[:, None], np.ones(len(seconds)))
    return Model(*map(float, costs))


def table(measurements: Sequence[Measurement]) -> str:
    """Return the measurements and the predictions of the model fitted to them, in Markdown."""
    model = fitted(measurements)
    header = ["environments per rank", "ranks", "steps/s", "efficiency", "steps/s of the model"]
    rows = [
        [
            str(m.n_envs),
            str(m.ranks),
            f"{m.speed:,.0f}",
            f"{m.efficiency:.1%}",
            f"{model.speed(m.ranks, m.n_envs):,.0f}",
        ]
        for m in measurements
    ]
    n_envs = max(m.n_envs for m in measurements)
    prediction = (
        f"Prediction for {N_MACHINES} machines with one rank and {n_envs} environments each, if a message between them "
        f"takes as long as here: {model.speed(N_MACHINES, n_envs):,.0f} steps/s, efficiency "
        f"{model.efficiency(N_MACHINES, n_envs):.1%}."
    )
    costs = (
        f"A rollout takes {1e3 * model.fixed:.2f} ms + {1e3 * model.per_env:.2f} ms per environment + "
        f"{1e3 * model.per_hop:.2f} ms for each of 2 (k - 1) messages."
    )
    return "\n\n".join([markdown_table(header, rows), costs, prediction])


def as_records(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Return the measurements and the model, ready for JSON."""
    records: list[dict[str, Any]] = [{**asdict(m), "speed": m.speed} for m in measurements]
    return [*records, {"model": asdict(fitted(measurements))}]


def plot(measurements: Sequence[Measurement], title: str, path: Path) -> None:
    """Plot the measured efficiencies, and the model's predictions for up to :data:`N_MACHINES` ranks."""
    model = fitted(measurements)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    ranks = range(1, N_MACHINES + 1)
    for n_envs in dict.fromkeys(m.n_envs for m in measurements):
        (line,) = axes.plot(ranks, [model.efficiency(k, n_envs) for k in ranks], "--", linewidth=1)
        measured = [m for m in measurements if m.n_envs == n_envs]
        axes.plot(
            [m.ranks for m in measured],
            [m.efficiency for m in measured],
            "o",
            color=line.get_color(),
            label=str(n_envs),
        )
    axes.set(xscale="log", xlabel="ranks", ylabel="efficiency", ylim=(0, 1.1))
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="environments\nper rank")
    axes.set_title("points: measured; dashed: predicted by the model fitted to them", fontsize="medium")
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
