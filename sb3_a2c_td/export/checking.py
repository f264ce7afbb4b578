"""Whether an exported actor acts as its model does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.normalization import OBSERVATION, Normalization
from sb3_a2c_td.policies.separate import SeparateActorCriticPolicy
from sb3_a2c_td.rollout.observations import Observations

N_OBSERVATIONS = 500
FAR = 1e3
"""bounds further out than this are taken for none: observations are drawn near zero then"""
MAX_LOG_RATIO = 1e-5
"""how much likelier one of two actions may be where rounding decides between them, were the largest logit 1"""
RTOL, ATOL = 1e-4, 1e-5
"""of actions that are numbers"""


def check_actions(
    act: Callable[[Observations], np.ndarray],
    policy: SeparateActorCriticPolicy,
    normalization: Normalization | None = None,
) -> None:
    """Check an exported actor against its model, on many observations at once and on a single one.

    :param act: gives actions for observations, as they come from the environment
    :param policy: the model's policy, on the CPU
    :param normalization: what ``VecNormalize`` does to observations before the policy sees them
    :raises ExportError: if it acts otherwise
    """
    policy.set_training_mode(False)  # as predict() does
    for n in (N_OBSERVATIONS, 1):
        observations = sampled_observations(policy.observation_space, n, normalization)
        seen = observations if normalization is None else normalization.normalized(observations)
        outputs = _outputs(policy, seen)
        expected, _ = policy.predict(seen, deterministic=True)
        found = act(observations)
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ExportError(
                f"the exported actor gives actions of shape {found.shape} and {found.dtype}, the model of shape "
                f"{expected.shape} and {expected.dtype}; nothing was written"
            )
        differ = _differ(policy, outputs, found, expected)
        if differ.any():
            raise ExportError(
                f"the exported actor acts otherwise than the model on {differ.sum()} of {n} observations, so nothing "
                "was written: a policy that overrides more than its networks cannot be exported"
            )


def _outputs(policy: SeparateActorCriticPolicy, seen: Observations) -> th.Tensor:
    """Give what the actor's last layer gives, which PyTorch's distributions take finite only."""
    with th.no_grad():
        of_actor, _ = policy.extract_features(policy.obs_to_tensor(seen)[0])
        outputs: th.Tensor = policy.action_net(policy.mlp_extractor.forward_actor(of_actor))
    n_bad = int((~outputs.isfinite()).any(dim=1).sum())
    if n_bad > 0:
        raise ExportError(
            f"the model's actions are not finite numbers on {n_bad} of {len(outputs)} observations, so nothing was "
            "written: its weights or the normalisation are damaged, or its training diverged"
        )
    return outputs


def _differ(
    policy: SeparateActorCriticPolicy, outputs: th.Tensor, found: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    """Tell which rows of actions differ by more than rounding."""
    if isinstance(policy.action_space, spaces.Box):
        is_close: np.ndarray = np.isclose(found, expected, RTOL, ATOL).reshape(len(found), -1).all(axis=1)
        return ~is_close
    # rounding grows with the logits; doubles add none where the probabilities of many actions are multiplied
    logits = outputs.double()
    scale = logits.abs().max().clamp_min(th.finfo(th.double).tiny)
    distribution = policy.action_dist.proba_distribution(logits / scale)
    log_prob, other = (distribution.log_prob(th.as_tensor(actions)).numpy() for actions in (expected, found))
    # one is as likely as itself
    is_as_likely: np.ndarray = np.abs(log_prob - other) <= MAX_LOG_RATIO
    return ~is_as_likely


def sampled_observations(
    space: spaces.Space[Any], n: int, normalization: Normalization | None = None, seed: int = 0
) -> Observations:
    """Draw observations from all over a space.

    :param space: the space
    :param n: how many
    :param normalization: where there is one, they are drawn around its means
    :param seed: of the generator; the space's own stays as it is
    """
    if isinstance(space, spaces.Dict):
        return {
            key: _sampled(one, n, normalization, key, seed + i) for i, (key, one) in enumerate(space.spaces.items())
        }
    return _sampled(space, n, normalization, OBSERVATION, seed)


def _sampled(space: spaces.Space[Any], n: int, normalization: Normalization | None, key: str, seed: int) -> np.ndarray:
    if normalization is not None and key in normalization.mean:
        spread = 3 * np.random.default_rng(seed).standard_normal((n, *normalization.mean[key].shape))
        drawn: np.ndarray = normalization.mean[key] + spread * np.sqrt(normalization.var[key])
        return drawn.astype(space.dtype)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = np.where(space.low < -FAR, -np.inf, space.low), np.where(space.high > FAR, np.inf, space.high)
        space = spaces.Box(low, high, dtype=space.dtype)
    batch = batch_space(space, n)
    batch.seed(seed)
    return np.asarray(batch.sample())
