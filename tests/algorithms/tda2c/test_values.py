"""The values to which the critic converges, known in closed form, on every engine."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import LinearSchedule

from sb3_a2c_td import TDA2C
from tests.engines import CPU_ENGINES
from tests.environments import ConstantEnv, CountingEnv

ENGINES = [pytest.param("autograd", marks=pytest.mark.slow), *(name for name in CPU_ENGINES if name != "autograd")]
FALLING_RATE = LinearSchedule(5e-3, 0.0, 1.0)
"""with a constant rate, the values would not settle"""


def value(model: TDA2C, *observation: float) -> float:
    with th.no_grad():
        return model.policy.predict_values(th.tensor([observation])).item()


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("length", [None, 4])
def test_endless_rewards_are_worth_their_geometric_series(length: int | None, engine: str) -> None:
    """V = 1 / (1 - gamma), also where a time limit truncates the episode."""
    model = TDA2C(
        "MlpPolicy",
        ConstantEnv(length),
        gamma=0.8,
        reward_scale=1.0,
        bootstrap_on_truncation=True,
        critic_learning_rate=FALLING_RATE,
        engine=engine,
        seed=0,
        device="cpu",
    )
    model.learn(6_000)
    assert value(model, 1.0) == pytest.approx(1 / (1 - 0.8), rel=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_bootstrapping_the_time_limit_ends_the_sum(engine: str) -> None:
    """All 4 steps have the same observation: V is the mean of their targets, V = 1 + 3/4 gamma V."""
    model = TDA2C(
        "MlpPolicy",
        ConstantEnv(4),
        gamma=0.8,
        reward_scale=1.0,
        critic_learning_rate=FALLING_RATE,
        engine=engine,
        seed=0,
        device="cpu",
    )
    model.learn(6_000)
    assert value(model, 1.0) == pytest.approx(1 / (1 - 0.75 * 0.8), rel=1e-3)


class NumberedSteps(CountingEnv):
    """Its observations are the number of the step, one-hot."""

    observation_space = spaces.Box(0, 1, (5,))

    def _observation(self) -> np.ndarray:
        return np.eye(5, dtype=np.float32)[self.t]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("truncates", [False, True])
def test_an_episode_is_worth_its_finite_sum(truncates: bool, engine: str) -> None:
    """V(s_t) = 1 + gamma + ... over the steps that are left; truncation, like termination, ends it by default."""
    model = TDA2C(
        "MlpPolicy",
        NumberedSteps(length=4, truncates=truncates),
        gamma=0.8,
        reward_scale=0.5,
        critic_learning_rate=FALLING_RATE,
        engine=engine,
        seed=0,
        device="cpu",
    )
    model.learn(12_000)
    values = [value(model, *np.eye(5)[t].tolist()) for t in range(4)]
    expected = [0.5 * sum(0.8**k for k in range(4 - t)) for t in range(4)]
    assert values == pytest.approx(expected, rel=1e-3)
