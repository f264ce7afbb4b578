"""Native vector environments: how fast TDA2C trains on many at once, and what the adapter to SB3 costs."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.report import markdown_table
from benchmarks.settings import learn
from benchmarks.throughput import learning_speed
from sb3_a2c_td import TDA2C, GymnasiumVecEnv
from sb3_a2c_td.engines.auto_engine import N_TORCH_UPDATES
from sb3_a2c_td.vec_env import dropping_dead_steps

N_ENVS = 1024
A2C_N_ENVS = (16, 64, 256, 1024)
"""numbers of environments that A2C is given, so that it is compared at its best"""


@dataclass(frozen=True)
class Arm:
    """Steps per second (of all environments together; of native ones the dead steps count) in each round."""

    algorithm: str
    environments: str
    n_envs: int
    speeds: list[float]

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return median(self.speeds)


def measure(rounds: int, seconds: float) -> list[Arm]:
    """Let A2C with several numbers of environments, and TDA2C on native ones, take turns on CartPole-v1.

    :param rounds: the number of turns
    :param seconds: about how long a turn takes
    """
    arms = [Arm("A2C", "DummyVecEnv", n_envs, []) for n_envs in A2C_N_ENVS] + [Arm("TDA2C", "native", N_ENVS, [])]
    models: list[BaseAlgorithm] = [
        A2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs), device="cpu") for n_envs in A2C_N_ENVS
    ]
    models.append(TDA2C("MlpPolicy", gym.make_vec("CartPole-v1", N_ENVS), device="cpu"))
    budgets = []
    for model in models:
        few_steps = 10 * model.n_envs
        # TDA2C's engine compiles after so many updates
        learn(model, few_steps + 5 * N_TORCH_UPDATES * model.n_envs if isinstance(model, TDA2C) else few_steps)
        budgets.append(max(few_steps, int(seconds * learning_speed(model, few_steps))))
    for _ in range(rounds):
        for arm, model, budget in zip(arms, models, budgets, strict=True):
            arm.speeds.append(learning_speed(model, budget))
    return arms


class EndlessCartPole(CartPoleVectorEnv):
    """CartPole where nothing counts as falling."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, max_episode_steps=np.iinfo(np.int32).max)
        self.x_threshold = self.theta_threshold_radians = np.inf


def adapter_microseconds(rounds: int, n_steps: int = 200) -> tuple[float, float]:
    """Time steps of native environments alone and through the adapter, in turns, with no episode ending.

    :param rounds: the number of turns
    :param n_steps: steps in a turn
    :return: microseconds for a step of all environments alone, and what the adapter adds: medians over the rounds
    """
    bare, adapter = EndlessCartPole(N_ENVS), GymnasiumVecEnv(EndlessCartPole(N_ENVS))
    bare.reset(seed=0)
    adapter.seed(0)
    adapter.reset()
    actions = np.random.default_rng(0).integers(0, 2, (n_steps, N_ENVS))
    alone, added = [], []
    with dropping_dead_steps(adapter):
        for _ in range(rounds):
            alone.append(_microseconds_of_a_step(bare.step, actions))
            added.append(_microseconds_of_a_step(adapter.step, actions) - alone[-1])
    return median(alone), median(added)


def _microseconds_of_a_step(step: Callable[[np.ndarray], Any], actions: np.ndarray) -> float:
    start = time.perf_counter()
    for action in actions:
        step(action)
    return 1e6 * (time.perf_counter() - start) / len(actions)


def table(arms: list[Arm]) -> str:
    """Lay the arms out, with their ratios to A2C at its best."""
    best = max(arm.speed for arm in arms if arm.algorithm == "A2C")
    header = ["arm", "n_envs", "steps/s", "ratio to A2C at its best"]
    rows = [
        [f"{arm.algorithm}, {arm.environments}", str(arm.n_envs), f"{arm.speed:,.0f}", f"{arm.speed / best:.2f}"]
        for arm in arms
    ]
    return markdown_table(header, rows)


def as_records(arms: list[Arm]) -> list[dict[str, object]]:
    """Give the arms as plain data."""
    return [{**asdict(arm), "speed": arm.speed} for arm in arms]
