"""Comparisons of everything that a training leaves behind."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.saving import generators
from sb3_a2c_td.vec_env.autoreset_steps import dropping_autoreset_steps


def everything(model: TDA2C) -> dict[str, Any]:
    """Return everything that a training leaves behind, and the next steps of the environments."""
    assert model.env is not None
    assert model.ep_info_buffer is not None
    env = model.env
    with dropping_autoreset_steps(env):
        steps = [env.step(np.array([env.action_space.sample() * 0] * env.num_envs))[:3] for _ in range(250)]
    return {
        "weights": [param.detach().numpy().copy() for param in model.policy.parameters()],
        "moments": [th.as_tensor(v).numpy().copy() for s in model.policy.optimizer.state.values() for v in s.values()],
        "rates": [group["lr"] for group in model.policy.optimizer.param_groups],
        "counts": (model.num_timesteps, model._n_updates, len(model.rollout_buffer), model._current_progress_remaining),
        "episodes": [(info["r"], info["l"]) for info in model.ep_info_buffer],
        "observation": model._last_obs,
        "generators": generators.states(),
        "statistics": _statistics(env),
        "next steps": steps,
    }


def _statistics(env: Any) -> list[dict[str, Any]]:
    """Copy the mean, the variance and the count of everything that ``VecNormalize`` normalizes."""
    if not isinstance(env, VecNormalize):
        return []
    of_observations = env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}
    return [dict(vars(rms)) for rms in (*of_observations.values(), env.ret_rms)]


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Name everything that is not bit for bit the same."""
    return [name for name in expected if not _are_equal(found[name], expected[name])]


def _are_equal(first: Any, second: Any) -> bool:
    try:
        np.testing.assert_equal(first, second)
    except AssertionError:
        return False
    return True
