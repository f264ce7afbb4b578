"""Compares exported actors with their models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations
from sb3_a2c_td.vec_env.normalization import OBSERVATION, Normalization, spaces_by_key

N_OBSERVATIONS = 500
MAX_BOUND = 1e3
"""larger bounds are treated as infinite, so that observations are drawn near zero"""
MAX_LOG_RATIO = 1e-5
"""maximum difference of two actions' log-probabilities, with logits scaled to at most 1, if only rounding decides"""
RTOL = 1e-4
ATOL = 1e-5
"""tolerances for continuous actions"""


def check_actions(
    act: Callable[[Observations], np.ndarray],
    policy: SeparateActorCriticPolicy,
    normalization: Normalization | None = None,
) -> None:
    """Compare an exported actor with its model, on a batch of observations and on a single one.

    :param act: returns the exported actor's actions for observations from the environment
    :param policy: the model's policy, on the CPU
    :param normalization: the statistics of ``VecNormalize``, with which the policy's observations are normalized
    :raises ExportError: if the actions differ by more than rounding
    """
    # as in predict()
    policy.set_training_mode(False)
    for n in (N_OBSERVATIONS, 1):
        observations = sampled_observations(policy.observation_space, n, normalization)
        seen = observations if normalization is None else normalization.normalized(observations)
        outputs = _outputs(policy, seen)
        expected, _ = policy.predict(seen, deterministic=True)
        found = act(observations)
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ExportError(
                f"the exported actor returns actions of shape {found.shape} and {found.dtype}, the model of shape "
                f"{expected.shape} and {expected.dtype}; nothing was written"
            )
        differ = _differ(policy, outputs, found, expected)
        if differ.any():
            raise ExportError(
                f"the exported actor acts differently from the model on {differ.sum()} of {n} observations, so nothing "
                "was written: a policy that overrides more than its networks cannot be exported"
            )


def _outputs(policy: SeparateActorCriticPolicy, seen: Observations) -> th.Tensor:
    """Return the outputs of the actor's last layer, and check that they are finite, as distributions require."""
    with th.no_grad():
        of_actor, _ = policy.extract_features(policy.obs_to_tensor(seen)[0])
        outputs: th.Tensor = policy.action_net(policy.mlp_extractor.forward_actor(of_actor))
    n_bad = int((~outputs.isfinite()).any(dim=1).sum())
    if n_bad > 0:
        raise ExportError(
            f"the model's actions are not finite numbers on {n_bad} of {len(outputs)} observations, so nothing was "
            "written: its weights or the normalization are damaged, or its training diverged"
        )
    return outputs


def _differ(
    policy: SeparateActorCriticPolicy, outputs: th.Tensor, found: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    """Return for each row whether the actions differ by more than rounding, ``(n,)``."""
    if isinstance(policy.action_space, spaces.Box):
        is_close: np.ndarray = np.isclose(found, expected, RTOL, ATOL).reshape(len(found), -1).all(axis=1)
        return ~is_close
    # rounding grows with the logits, so they are scaled; doubles, so that log_prob adds hardly any rounding
    logits = outputs.double()
    scale = logits.abs().max().clamp_min(th.finfo(th.double).tiny)
    distribution = policy.action_dist.proba_distribution(logits / scale)
    expected_log_prob = distribution.log_prob(th.as_tensor(expected)).numpy()
    found_log_prob = distribution.log_prob(th.as_tensor(found)).numpy()
    are_equally_likely: np.ndarray = np.abs(expected_log_prob - found_log_prob) <= MAX_LOG_RATIO
    return ~are_equally_likely


def sampled_observations(space: spaces.Space[Any], n: int, normalization: Normalization | None = None) -> Observations:
    """Draw observations from the whole space.

    :param space: the space, whose own generator is not used
    :param n: number of observations
    :param normalization: statistics of observations, which are then drawn around their means
    :return: ``(n, *observation_shape)``, or a dict of such arrays
    """
    parts = spaces_by_key(space)
    sampled = {key: _sampled(part, n, normalization, key, seed) for seed, (key, part) in enumerate(parts.items())}
    return sampled if isinstance(space, spaces.Dict) else sampled[OBSERVATION]


def _sampled(space: spaces.Space[Any], n: int, normalization: Normalization | None, key: str, seed: int) -> np.ndarray:
    if normalization is not None and key in normalization.mean:
        spread = 3 * np.random.default_rng(seed).standard_normal((n, *normalization.mean[key].shape))
        drawn: np.ndarray = normalization.mean[key] + spread * np.sqrt(normalization.var[key])
        return drawn.astype(space.dtype)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low = np.where(space.low < -MAX_BOUND, -np.inf, space.low)
        high = np.where(space.high > MAX_BOUND, np.inf, space.high)
        space = spaces.Box(low, high, dtype=space.dtype)
    batch = batch_space(space, n)
    batch.seed(seed)
    return np.asarray(batch.sample())
