"""One step of the tabular vector environments, and the exact solutions.

``pytest benchmarks/speed/micro/test_tabular.py -n 0 --benchmark-enable --benchmark-columns=median,iqr,rounds``
"""

import gymnasium as gym
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sb3_a2c_td.registration import TABULAR
from sb3_a2c_td.tabular import exact
from sb3_a2c_td.tabular.problems import garnet


@pytest.mark.parametrize("observation", ["discrete", "one_hot"])
@pytest.mark.parametrize("n_envs", [1, 1024])
@pytest.mark.parametrize("env_id", TABULAR)
@pytest.mark.benchmark(group="stepping")
def test_stepping(benchmark: BenchmarkFixture, env_id: str, n_envs: int, observation: str) -> None:
    env = gym.make_vec(env_id, n_envs, observation=observation)
    env.reset(seed=0)
    actions = np.asarray(env.action_space.sample())
    assert len(benchmark(env.step, actions)[1]) == n_envs


@pytest.mark.parametrize("n_states", [20, 200])
@pytest.mark.parametrize("solve", [exact.action_values, exact.policy_gradient, exact.optimal_policy])
@pytest.mark.benchmark(group="solving")
def test_solving(benchmark: BenchmarkFixture, solve, n_states: int) -> None:  # type: ignore[no-untyped-def]
    mdp = garnet(n_states)
    arguments = [mdp] if solve is exact.optimal_policy else [mdp, np.full((n_states, 4), 0.25)]
    assert benchmark(solve, *arguments).shape == (n_states, 4)
