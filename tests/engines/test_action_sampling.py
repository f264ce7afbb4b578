"""Actions follow the distributions that PyTorch computes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch as th
from sb3_contrib.common.maskable.distributions import (
    MaskableBernoulliDistribution,
    MaskableCategoricalDistribution,
    MaskableDistribution,
    MaskableMultiCategoricalDistribution,
)
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.action_sampling import draw_actions, draw_noise_matrices
from sb3_a2c_td.engines.random_streams import RandomStreams

N = 40_000
CPU = th.device("cpu")
LOGITS = th.tensor([[1.0, -0.5, 0.0, 2.0, -1.0]])


def rows(numbers: th.Tensor) -> th.Tensor:
    return numbers.expand(N, -1)


def masked(distribution: MaskableDistribution, mask: list[bool]) -> MaskableDistribution:
    distribution.apply_masking(np.tile(mask, (N, 1)))
    return distribution


DISCRETE: dict[str, Callable[[], Distribution]] = {
    "categorical": lambda: CategoricalDistribution(5).proba_distribution(rows(LOGITS)),
    "multi-categorical": lambda: MultiCategoricalDistribution([3, 2]).proba_distribution(rows(LOGITS)),
    "Bernoulli": lambda: BernoulliDistribution(5).proba_distribution(rows(LOGITS)),
    "masked categorical": lambda: masked(
        MaskableCategoricalDistribution(5).proba_distribution(rows(LOGITS)), [True, False, True, True, False]
    ),
    "masked multi-categorical": lambda: masked(
        MaskableMultiCategoricalDistribution([3, 2]).proba_distribution(rows(LOGITS)), [True, False, True, True, False]
    ),
    "masked Bernoulli": lambda: masked(
        MaskableBernoulliDistribution(2).proba_distribution(rows(LOGITS[:, :4])), [True, True, False, True]
    ),
}


@pytest.mark.parametrize("make", DISCRETE.values(), ids=DISCRETE)
def test_discrete_actions_have_the_probabilities_of_the_distribution(make: Callable[[], Distribution]) -> None:
    distribution = make()
    actions = draw_actions(distribution, RandomStreams.from_seed(0), CPU)
    sampled = distribution.sample()
    assert (actions.shape, actions.dtype) == (sampled.shape, sampled.dtype)
    values, counts = np.unique(actions.reshape(N, -1).numpy(), axis=0, return_counts=True)
    for value, count in zip(values, counts, strict=True):
        action = th.as_tensor(value).expand(N, -1)
        probability = distribution.log_prob(action[:, 0] if actions.ndim == 1 else action)[0].exp().item()
        # five standard deviations
        assert abs(count / N - probability) < 5 * np.sqrt(probability * (1 - probability) / N)


def test_gaussian_actions_have_the_mean_and_the_standard_deviation_of_the_distribution() -> None:
    mean, log_std = th.tensor([[1.0, -2.0]]), th.tensor([0.5, -1.0])
    distribution = DiagGaussianDistribution(2).proba_distribution(rows(mean), log_std)
    actions = draw_actions(distribution, RandomStreams.from_seed(0), CPU)
    std = log_std.exp()
    assert ((actions.mean(dim=0) - mean[0]).abs() < 5 * std / N**0.5).all()
    assert ((actions.std(dim=0) / std - 1.0).abs() < 5 / (2 * N) ** 0.5).all()
    assert abs(np.corrcoef(actions.numpy().T)[0, 1]) < 5 / N**0.5


def test_a_distribution_that_samples_in_its_own_way_is_asked() -> None:
    class AlwaysTwo(CategoricalDistribution):
        def sample(self) -> th.Tensor:
            return th.full((N,), 2)

    distribution = AlwaysTwo(5).proba_distribution(rows(LOGITS))
    assert (draw_actions(distribution, RandomStreams.from_seed(0), CPU) == 2).all()


def test_noise_matrices_of_gsde_have_the_standard_deviations_of_the_distribution() -> None:
    policy = TDA2C("MlpPolicy", "Pendulum-v1", use_sde=True, policy_kwargs={"net_arch": [4]}, device="cpu").policy
    with th.no_grad():
        policy.log_std += th.tensor([[0.0], [1.0], [-1.0], [2.0]])
    draw_noise_matrices(policy, N, RandomStreams.from_seed(0))
    distribution, std = policy.action_dist, policy.action_dist.get_std(policy.log_std).detach()
    matrices = distribution.exploration_matrices
    assert (distribution.exploration_mat.shape, matrices.shape) == (std.shape, (N, *std.shape))
    assert (matrices.mean(dim=0).abs() < 5 * std / N**0.5).all()
    assert ((matrices.std(dim=0) / std - 1.0).abs() < 5 / (2 * N) ** 0.5).all()
