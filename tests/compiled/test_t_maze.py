import gymnasium as gym
import numpy as np
import pytest

from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.compiled.t_maze import t_maze
from sb3_a2c_td.envs import TMaze
from tests.vec_env.traces import assert_same_traces, monitored


@pytest.mark.parametrize("length", [1, 4])
def test_trace_equals_the_uncompiled_maze(length: int) -> None:
    # mostly forward, so that many episodes end at the junction
    actions = np.random.default_rng(0).choice(3, p=[0.8, 0.1, 0.1], size=(150, 3))
    theirs = monitored([lambda: gym.wrappers.TimeLimit(TMaze(length), 9)] * 3)
    assert assert_same_traces(make_compiled_vec_env(t_maze(length, 9), 3), theirs, actions) > 20


def test_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match="length must be an integer of at least 1, got 0"):
        t_maze(0)
