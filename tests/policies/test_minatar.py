import torch as th
from torch.nn import functional

from sb3_a2c_td import TDA2C, recommended, recommended_env


def test_actor_and_critic_have_minatars_layers() -> None:
    """Compared with the layers written out."""
    env = recommended_env("MinAtar/Breakout-v1", seed=0)
    policy = TDA2C(env=env, device="cpu", **recommended("MinAtar/Breakout-v1")).policy
    images = th.rand(2, 4, 10, 10)
    for extractor in (policy.pi_features_extractor, policy.vf_features_extractor):
        kernel, kernel_bias, weight, bias = extractor.parameters()
        assert kernel.shape == (16, 4, 3, 3)
        assert weight.shape == (128, 16 * 8 * 8)
        convolved = functional.conv2d(images, kernel, kernel_bias).relu().reshape(2, -1)
        th.testing.assert_close(extractor(images), (convolved @ weight.T + bias).relu())
    assert policy.pi_features_extractor is not policy.vf_features_extractor
