"""The benchmark's environments as algorithms see them."""

import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.learning.environments import (
    DEVELOPMENT_ENVIRONMENTS,
    ENVIRONMENTS,
    HELD_OUT_ENVIRONMENTS,
    Environment,
)

WITH_VECTORS = [each for each in (*DEVELOPMENT_ENVIRONMENTS, *HELD_OUT_ENVIRONMENTS) if each.policy == "MlpPolicy"]


@pytest.mark.parametrize("environment", WITH_VECTORS, ids=lambda environment: environment.name)
def test_observations_are_vectors_of_floats(environment: Environment) -> None:
    env = environment.make()
    space = env.observation_space
    assert len(space.shape) == 1
    assert np.issubdtype(space.dtype, np.floating)
    observation, _ = env.reset(seed=0)
    assert observation in space
    env.close()


def test_a2c_learns_from_the_normalized_observations_that_it_acts_on() -> None:
    """Its buffer has the dtype of the observation space."""
    env = VecNormalize(ENVIRONMENTS["FrozenLake-v1"].make_vec(2, seed=0))
    model = A2C("MlpPolicy", env, n_steps=4, device="cpu").learn(8)
    first = model.rollout_buffer.observations[-1]
    assert (first != first.round()).any()
