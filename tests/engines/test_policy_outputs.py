"""What policies compute for the engines."""

import copy
from collections.abc import Callable

import numpy as np
import pytest

from sb3_a2c_td import TDA2C
from tests.engines.test_devices import MODELS
from tests.faults.test_divergence import with_eager_cuda_engine

UPDATED: dict[str, Callable[[], TDA2C]] = {**MODELS, "cuda": lambda: with_eager_cuda_engine(MODELS["vector"]())}


@pytest.mark.parametrize("name", UPDATED)
def test_policies_can_be_copied_after_an_update(name: str) -> None:
    model = UPDATED[name]().learn(49)
    while len(model.rollout_buffer) == 0:
        model.learn(1, reset_num_timesteps=False)
    model.train()
    observations = model.env.reset()
    copied = copy.deepcopy(model.policy)
    expected, _ = model.policy.predict(observations, deterministic=True)
    np.testing.assert_array_equal(copied.predict(observations, deterministic=True)[0], expected)
