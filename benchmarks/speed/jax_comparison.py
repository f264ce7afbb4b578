"""TDA2C on compiled environments, compared with the programs of :mod:`benchmarks.speed.jax_programs`.

Each program runs in a separate process, with the Python of an environment that has JAX. The arms take turns, each with
whole trainings from scratch.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.settings import COMPILED
from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import make_compiled_vec_env

ENV_ID = "sb3_a2c_td/CartPole-v1"
N_STEPS = {1: 200_000, 16: 1_000_000, 1024: 5_000_000}
"""environment steps of a training, by number of environments"""
JAX = "A2C in JAX"
PROGRAMS = {JAX: "a2c", "rejax's PPO on gymnax": "rejax_ppo"}
"""modules of :mod:`benchmarks.speed.jax_programs` by arm"""
ONE_CORE = ", one core"
"""suffix of arms whose process may use one core only"""
NO_LOGS = ", no logs"
"""suffix of TDA2C's arm that writes no logs, as the programs in JAX write none"""
ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """One training."""

    speed: float
    """steps per second"""
    cores: float
    """processor time divided by time"""
    mean_return: float
    """of the episodes at its end"""


@dataclass(frozen=True)
class Measurement:
    """One arm with one number of environments: an item of each list is a round."""

    n_envs: int
    arm: str
    n_steps: int
    speeds: list[float]
    cores: list[float]
    mean_returns: list[float]
    ratio: float
    """TDA2C's speed divided by this arm's in the same round; the median of the rounds"""

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.speeds)


Turn = Callable[[int, int, int], Result]
"""trains with a number of environments, a number of steps, and a seed"""


class Arms(NamedTuple):
    """What is compared."""

    turns: dict[str, Turn]
    """by arm, TDA2C first"""
    versions: dict[str, dict[str, str]]
    """versions of packages by program; a program without is not compared, since it did not start"""


@contextmanager
def started_arms(python: Path) -> Iterator[Arms]:
    """Start the programs, each with all cores and with one.

    :param python: the Python of the environment with JAX
    """
    arms = Arms({COMPILED: train_compiled, COMPILED + NO_LOGS: partial(train_compiled, log_interval=None)}, {})
    core = str(min(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        for arm, program in PROGRAMS.items():
            for suffix, cores in ((ONE_CORE, [core]), ("", [])):
                server = stack.enter_context(_started_server(python, program, cores))
                assert server.stdout is not None
                arms.versions[program] = json.loads(server.stdout.readline() or "{}")
                if arms.versions[program]:
                    arms.turns[arm + suffix] = _Client(server)
        yield arms


@contextmanager
def _started_server(python: Path, program: str, cores: list[str]) -> Iterator[subprocess.Popen[str]]:
    command = [str(python), "-m", "benchmarks.speed.jax_programs.server", program, *cores]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        yield server
        assert server.stdin is not None
        # the server ends
        server.stdin.close()


class _Client:
    """Lets a server train."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def __call__(self, n_envs: int, n_steps: int, seed: int) -> Result:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"n_envs": n_envs, "n_steps": n_steps, "seed": seed}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        seconds = answer["seconds"]
        return Result(answer["n_steps"] / seconds, answer["processor_seconds"] / seconds, answer["mean_return"])


def train_compiled(n_envs: int, n_steps: int, seed: int, log_interval: int | None = 100) -> Result:
    """Train TDA2C with its default settings on compiled environments.

    :param n_envs: the number of environments
    :param n_steps: environment steps
    :param seed: seed of the model and the environments
    :param log_interval: rollouts between two logs; ``None``: no logs
    """
    model = TDA2C("MlpPolicy", make_compiled_vec_env(ENV_ID, n_envs), seed=seed, device="cpu")
    start, processor_start = time.perf_counter(), time.process_time()
    model.learn(n_steps, log_interval=log_interval)
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    return Result(model.num_timesteps / seconds, processor_seconds / seconds, statistics.fmean(returns))


def measure(turns: dict[str, Turn], n_envs: int, rounds: int) -> list[Measurement]:
    """Let the arms train in turns.

    :param turns: the arms, TDA2C first
    :param n_envs: the number of environments
    :param rounds: trainings of each arm
    :return: a measurement per arm
    """
    n_steps = N_STEPS[n_envs]
    for turn in turns.values():
        # compiles
        turn(n_envs, n_steps, 0)
    results: dict[str, list[Result]] = {arm: [] for arm in turns}
    for seed in range(rounds):
        for arm, turn in turns.items():
            results[arm].append(turn(n_envs, n_steps, seed))
    return [
        Measurement(
            n_envs,
            arm,
            n_steps,
            [result.speed for result in of_arm],
            [result.cores for result in of_arm],
            [result.mean_return for result in of_arm],
            statistics.median(
                ours.speed / theirs.speed for ours, theirs in zip(results[COMPILED], of_arm, strict=True)
            ),
        )
        for arm, of_arm in results.items()
    ]


def table(measurements: Sequence[Measurement]) -> str:
    """Format the measurements as a Markdown table."""
    header = ["arm", "environments", "steps", "steps/s", "cores", "mean return", "TDA2C's speed, as a ratio"]
    rows = [
        [
            m.arm,
            f"{m.n_envs:,}",
            f"{m.n_steps:,}",
            f"{m.speed:,.0f}",
            f"{statistics.median(m.cores):.2f}",
            f"{statistics.median(m.mean_returns):.0f}",
            f"{m.ratio:.2f}",
        ]
        for m in measurements
    ]
    return markdown_table(header, rows)


def as_records(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Convert the measurements to JSON values."""
    return [{**asdict(m), "speed": m.speed} for m in measurements]


def from_records(records: Iterable[dict[str, Any]]) -> list[Measurement]:
    """Convert the JSON values of :func:`as_records` back."""
    return [Measurement(**{name: value for name, value in record.items() if name != "speed"}) for record in records]
