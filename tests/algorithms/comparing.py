"""Comparisons of models."""

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm


def assert_same_parameters(model: BaseAlgorithm, reference: BaseAlgorithm, atol: float = 0.0) -> None:
    """Check that two models have the same parameters: bit for bit, or with a tolerance."""
    found, expected = (dict(each.policy.named_parameters()) for each in (model, reference))
    th.testing.assert_close(found, expected, rtol=0, atol=atol)
