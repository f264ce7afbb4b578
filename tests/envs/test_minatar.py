import gymnasium as gym
import numpy as np

from sb3_a2c_td import registration
from sb3_a2c_td.envs import minatar


def test_channels_come_first() -> None:
    registration.register_for("MinAtar/Breakout-v1")
    env, wrapped = gym.make("MinAtar/Breakout-v1"), minatar.channels_first(gym.make("MinAtar/Breakout-v1"))
    image, _ = env.reset(seed=0)
    transposed, _ = wrapped.reset(seed=0)
    assert wrapped.observation_space.contains(transposed)
    assert transposed.shape == (4, 10, 10)
    assert transposed.dtype == np.float32
    for channel in range(4):
        np.testing.assert_array_equal(transposed[channel], image[:, :, channel])
