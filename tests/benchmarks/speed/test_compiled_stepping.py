import numpy as np
import pytest

from benchmarks.speed.compiled_stepping import compiled_steps
from sb3_a2c_td.compiled import make_compiled_vec_env


@pytest.mark.parametrize("env_id", ["sb3_a2c_td/CartPole-v1", "sb3_a2c_td/Pendulum-v1"])
def test_loop_takes_the_same_steps_as_the_environments(env_id: str) -> None:
    stepped, looped = (make_compiled_vec_env(env_id, 3, seed=0) for _ in range(2))
    stepped.reset()
    looped.reset()
    stepped.action_space.seed(0)
    actions = np.array([[stepped.action_space.sample() for _ in range(3)] for _ in range(250)])
    for action in actions:
        stepped.step(action)
    compiled_steps(looped, actions)()
    np.testing.assert_array_equal(looped.states, stepped.states)
    np.testing.assert_array_equal(looped.n_steps, stepped.n_steps)
