"""MinAtar's games, their images and their CNN."""

import warnings

import gymnasium as gym
import numpy as np
import torch as th
from torch.nn import functional

from sb3_a2c_td import TDA2C, recommended, recommended_env
from sb3_a2c_td.envs import minatar


def test_the_games_are_registered_once() -> None:
    minatar.register()
    with warnings.catch_warnings(action="error"):
        minatar.register()
    assert "MinAtar/Breakout-v1" in gym.registry


def test_channels_come_first() -> None:
    minatar.register()
    raw, wrapped = gym.make("MinAtar/Breakout-v1"), minatar.channels_first(gym.make("MinAtar/Breakout-v1"))
    image, _ = raw.reset(seed=0)
    turned, _ = wrapped.reset(seed=0)
    assert wrapped.observation_space.contains(turned)
    assert turned.shape == (4, 10, 10)
    assert {(c, *place) for *place, c in np.argwhere(image).tolist()} == {
        tuple(x) for x in np.argwhere(turned).tolist()
    }


def test_the_policy_has_the_layers_of_minatars_agents_twice() -> None:
    """Against the layers written out."""
    model = TDA2C(
        env=recommended_env("MinAtar/Breakout-v1", seed=0), device="cpu", **recommended("MinAtar/Breakout-v1")
    )
    images = th.rand(2, 4, 10, 10)
    for extractor in (model.policy.pi_features_extractor, model.policy.vf_features_extractor):
        kernel, bias, weights, offset = extractor.parameters()
        assert kernel.shape == (16, 4, 3, 3)
        assert weights.shape == (128, 16 * 8 * 8)
        convolved = functional.conv2d(images, kernel, bias).relu().reshape(2, -1)
        th.testing.assert_close(extractor(images), (convolved @ weights.T + offset).relu())
    assert model.policy.pi_features_extractor is not model.policy.vf_features_extractor
