"""Steps per second of the tabular vector environments, beside Gymnasium's own native one."""

import itertools
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.tables import markdown_table
from sb3_a2c_td.envs.registration import TABULAR

OBSERVATIONS = ("discrete", "one_hot")
YARDSTICK = "CartPole-v1"
N_ACTIONS = 64
"""vectors of random actions that are drawn beforehand and taken in turns"""
STEPS_BETWEEN_LOOKS = 100
"""steps between two looks at the clock"""


@dataclass(frozen=True)
class EnvironmentSpeed:
    """Steps per second, of all copies together, in each round."""

    env: str
    observation: str
    n_envs: int
    speeds: list[float]

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.speeds)


def measure(n_envs: int, rounds: int, seconds: float) -> list[EnvironmentSpeed]:
    """Let the environments take turns under random actions.

    :param n_envs: number of copies
    :param rounds: the number of turns
    :param seconds: about how long a turn takes
    """
    envs = {
        (env_id, observation): gym.make_vec(env_id, n_envs, observation=observation)
        for env_id in TABULAR
        for observation in OBSERVATIONS
    }
    envs[YARDSTICK, "4 floats"] = gym.make_vec(YARDSTICK, n_envs, vectorization_mode="vector_entry_point")
    speeds: dict[tuple[str, str], list[float]] = {arm: [] for arm in envs}
    for _ in range(rounds):
        for arm, env in envs.items():
            speeds[arm].append(steps_per_second(env, seconds))
    return [EnvironmentSpeed(*arm, n_envs, values) for arm, values in speeds.items()]


def steps_per_second(env: gym.vector.VectorEnv[Any, Any, Any], seconds: float) -> float:
    """Step a vector environment under random actions and give the steps of all copies in a second.

    :param env: a vector environment
    :param seconds: about how long to step
    """
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = itertools.cycle([np.asarray(env.action_space.sample()) for _ in range(N_ACTIONS)])
    n_steps, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds or not n_steps:
        for action in itertools.islice(actions, STEPS_BETWEEN_LOOKS):
            env.step(action)
        n_steps += STEPS_BETWEEN_LOOKS * env.num_envs
    return n_steps / taken


def table(measured: list[EnvironmentSpeed]) -> str:
    """Lay the speeds out, in millions."""
    rows = [[m.env, m.observation, f"{m.speed / 1e6:.1f}"] for m in measured]
    return markdown_table(["environment", "observation", f"million steps/s, {measured[0].n_envs} copies"], rows)


def as_records(measured: list[EnvironmentSpeed]) -> list[dict[str, object]]:
    """Give the speeds as plain data."""
    return [{**asdict(m), "speed": m.speed} for m in measured]
