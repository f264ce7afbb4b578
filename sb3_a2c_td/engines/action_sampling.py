r"""Draws actions from SB3's distributions with noise of the model's own generator.

Where numpy draws the noise, every engine takes the same actions from it, up to rounding:

- categorical: :math:`\operatorname{argmax}_k (z_k + g_k)`, with logits :math:`z` and Gumbel noise :math:`g`, is
  distributed like the softmax of the logits (Gumbel 1954; Maddison et al., *A\* Sampling*, 2014);
- Bernoulli: :math:`z + l > 0`, with logistic noise :math:`l`, the difference of two Gumbels;
- Gaussian: :math:`\mu + \sigma \epsilon`, with standard normal noise :math:`\epsilon`;
- gSDE: the same noise for each weight of its matrices, from which the actions follow.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch as th
from sb3_contrib.common.maskable.distributions import (
    MaskableBernoulliDistribution,
    MaskableCategoricalDistribution,
    MaskableMultiCategoricalDistribution,
)
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.policies.separate import SeparateNetworks


def draw_actions(distribution: Distribution, streams: RandomStreams, device: th.device) -> th.Tensor:
    r"""Draw an action for every row of a batch.

    :param distribution: :math:`\pi(\cdot|s)` of ``N`` rows; PyTorch draws from one that is not listed above
    :param streams: the model's random generators
    :param device: the policy's device
    :return: ``(N, *action_shape)``, as ``distribution.sample()`` returns them
    """
    # exact types, since a subclass may sample in another way
    kind, rng = type(distribution), streams.actions
    if kind in (MaskableMultiCategoricalDistribution, MaskableBernoulliDistribution):
        return _draw_components(cast(MaskableMultiCategoricalDistribution, distribution).distributions, rng)
    if kind is MultiCategoricalDistribution:
        return _draw_components(cast(list[th.distributions.Categorical], distribution.distribution), rng)
    if kind in (CategoricalDistribution, MaskableCategoricalDistribution):
        return _draw_categorical(cast(th.distributions.Categorical, distribution.distribution), rng)
    if kind is BernoulliDistribution:
        logits = cast(th.distributions.Bernoulli, distribution.distribution).logits
        return (logits + _like(logits, rng.logistic(size=logits.shape)) > 0).to(logits.dtype)
    if kind is DiagGaussianDistribution:
        normal = cast(th.distributions.Normal, distribution.distribution)
        return normal.mean + normal.stddev * _like(normal.mean, rng.standard_normal(normal.mean.shape))
    if kind is StateDependentNoiseDistribution:
        return distribution.get_actions()
    with streams.seeding_torch(device):
        return distribution.get_actions()


@th.no_grad()
def draw_noise_matrices(policy: SeparateNetworks, n_envs: int, streams: RandomStreams) -> None:
    """Draw new noise matrices of gSDE, as ``policy.reset_noise`` does.

    :param policy: a policy with gSDE
    :param n_envs: the number of environments, each of which has a matrix
    :param streams: the model's random generators
    """
    distribution, log_std = policy.action_dist, cast(th.Tensor, policy.log_std)
    reset_noise = cast(ActorCriticPolicy, policy).reset_noise
    is_sb3s = getattr(reset_noise, "__func__", None) is ActorCriticPolicy.reset_noise
    if not is_sb3s or type(distribution) is not StateDependentNoiseDistribution:
        with streams.seeding_torch(policy.device):
            reset_noise(n_envs)
        return
    std = distribution.get_std(log_std)
    distribution.weights_dist = th.distributions.Normal(th.zeros_like(std), std)
    distribution.exploration_mat = std * _like(std, streams.actions.standard_normal(std.shape))
    distribution.exploration_matrices = std * _like(std, streams.actions.standard_normal((n_envs, *std.shape)))


def _draw_components(components: Sequence[th.distributions.Categorical], rng: np.random.Generator) -> th.Tensor:
    return th.stack([_draw_categorical(component, rng) for component in components], dim=1)


def _draw_categorical(categorical: th.distributions.Categorical, rng: np.random.Generator) -> th.Tensor:
    logits = categorical.logits
    return (logits + _like(logits, rng.gumbel(size=logits.shape))).argmax(dim=1)


def _like(outputs: th.Tensor, noise: np.ndarray) -> th.Tensor:
    # a blocking copy would wait until the network is computed
    return th.from_numpy(noise).to(outputs.device, outputs.dtype, non_blocking=True)
