"""SB3's algorithms on compiled environments, compared with the same algorithms on Gymnasium's."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.speed.settings import learn, learning_speed
from benchmarks.tables import markdown_table
from sb3_a2c_td.compiled import make_compiled_vec_env

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"A2C": A2C, "PPO": PPO, "DQN": DQN}
N_ENVS = (1, 16)
SETTINGS = {"PPO": {"n_steps": 256}}
"""arguments other than the defaults: with 2,048 steps, a rollout of PPO would take longer than a turn"""


@dataclass(frozen=True)
class Measurement:
    """An algorithm with a number of environments: an item of each list is a round."""

    algorithm: str
    n_envs: int
    speeds: list[float]
    """steps per second on Gymnasium's environments"""
    compiled_speeds: list[float]
    """steps per second on compiled environments"""
    ratio: float
    """the second divided by the first; the median of the rounds"""


def measure(rounds: int, seconds: float) -> Iterator[Measurement]:
    """Measure each algorithm in turns on both kinds of environments.

    :param rounds: number of turns
    :param seconds: approximate duration of a turn
    :return: measurements as they are made
    """
    for algorithm in ALGORITHMS:
        for n_envs in N_ENVS:
            yield _measure(algorithm, n_envs, rounds, seconds)


def _measure(algorithm: str, n_envs: int, rounds: int, seconds: float) -> Measurement:
    envs = (make_vec_env("CartPole-v1", n_envs), make_compiled_vec_env("sb3_a2c_td/CartPole-v1", n_envs))
    models = [_make_model(algorithm, env) for env in envs]
    budgets = []
    for model in models:
        # DQN's first 100 steps are without updates
        learn(model, 200 * n_envs)
        budgets.append(int(seconds * learning_speed(model, 200 * n_envs)))
    turns = list(zip(models, budgets, strict=True))
    rows = [[learning_speed(model, n_steps) for model, n_steps in turns] for _ in range(rounds)]
    speeds, compiled_speeds = (list(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(compiled / other for other, compiled in rows)
    return Measurement(algorithm, n_envs, speeds, compiled_speeds, ratio)


def _make_model(algorithm: str, env: VecEnv) -> BaseAlgorithm:
    return ALGORITHMS[algorithm]("MlpPolicy", env, device="cpu", **SETTINGS.get(algorithm, {}))  # type: ignore[arg-type]


def table(measurements: list[Measurement]) -> str:
    """Format the measurements as a Markdown table."""
    header = ["algorithm", "environments", "steps/s", "steps/s, compiled environments", "ratio"]
    rows = [
        [
            m.algorithm,
            str(m.n_envs),
            f"{statistics.median(m.speeds):,.0f}",
            f"{statistics.median(m.compiled_speeds):,.0f}",
            f"{m.ratio:.2f}",
        ]
        for m in measurements
    ]
    return markdown_table(header, rows)


def as_records(measurements: list[Measurement]) -> list[dict[str, Any]]:
    """Convert the measurements to JSON values."""
    return [asdict(m) for m in measurements]
