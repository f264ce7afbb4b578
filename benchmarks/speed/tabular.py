"""Steps per second of the tabular vector environments, compared with a native one of Gymnasium."""

import itertools
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.tables import markdown_table
from sb3_a2c_td.registration import TABULAR

OBSERVATIONS = ("discrete", "one_hot")
NATIVE_ENV = "CartPole-v1"
N_ACTIONS = 64
"""number of pre-drawn random action vectors, which are cycled through"""
STEPS_PER_CLOCK_CHECK = 100


@dataclass(frozen=True)
class EnvironmentSpeed:
    """Steps per second of all copies together, in each round."""

    env: str
    observation: str
    n_envs: int
    speeds: list[float]

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.speeds)


def measure(n_envs: int, rounds: int, seconds: float) -> list[EnvironmentSpeed]:
    """Measure the environments in turns, under random actions.

    :param n_envs: number of copies
    :param rounds: number of turns per environment
    :param seconds: approximate duration of a turn
    :return: the speeds by environment and observation
    """
    envs = {
        (env_id, observation): gym.make_vec(env_id, n_envs, observation=observation)
        for env_id in TABULAR
        for observation in OBSERVATIONS
    }
    envs[NATIVE_ENV, "4 floats"] = gym.make_vec(NATIVE_ENV, n_envs, vectorization_mode="vector_entry_point")
    speeds: dict[tuple[str, str], list[float]] = {arm: [] for arm in envs}
    for _ in range(rounds):
        for arm, env in envs.items():
            speeds[arm].append(steps_per_second(env, seconds))
    return [EnvironmentSpeed(*arm, n_envs, values) for arm, values in speeds.items()]


def steps_per_second(env: gym.vector.VectorEnv[Any, Any, Any], seconds: float) -> float:
    """Measure the speed of a vector environment under random actions.

    :param env: the vector environment
    :param seconds: approximate duration of the measurement
    :return: steps per second of all copies together
    """
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = itertools.cycle([np.asarray(env.action_space.sample()) for _ in range(N_ACTIONS)])
    n_steps, taken, start = 0, 0.0, time.perf_counter()
    while taken < seconds or n_steps == 0:
        for action in itertools.islice(actions, STEPS_PER_CLOCK_CHECK):
            env.step(action)
        n_steps += STEPS_PER_CLOCK_CHECK * env.num_envs
        taken = time.perf_counter() - start
    return n_steps / taken


def table(measured: list[EnvironmentSpeed]) -> str:
    """Format the speeds as a Markdown table, in million steps per second."""
    rows = [[m.env, m.observation, f"{m.speed / 1e6:.1f}"] for m in measured]
    return markdown_table(["environment", "observation", f"million steps/s, {measured[0].n_envs} copies"], rows)


def as_records(measured: list[EnvironmentSpeed]) -> list[dict[str, object]]:
    """Convert the speeds to JSON values."""
    return [{**asdict(m), "speed": m.speed} for m in measured]
