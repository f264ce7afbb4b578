"""What a training run needs, beside the model, to go on as if it had not been stopped."""

import pickle
import warnings
import zlib
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td.saving import env_states, generators
from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.unpickling import DAMAGE, restricted_loads

NOISE = ("exploration_mat", "exploration_matrices")


def dumps(model: OnPolicyAlgorithm) -> bytes:
    """Read the state of a model's training: the global generators, the environments, the noise of gSDE.

    :param model: the model
    :return: a pickle of plain data
    """
    noise = _noise(model)
    return pickle.dumps(
        {
            "generators": generators.states(),
            "n_envs": model.n_envs,
            "env": None if model.env is None else [_pickled(layer) for layer in env_states.states_of(model.env)],
            "noise": {} if noise is None else {name: getattr(noise, name).numpy(force=True) for name in NOISE},
        }
    )


def _pickled(layer: env_states.LayerState) -> tuple[bytes | None, str | None]:
    """Pickle a state, if it can be read again, so that nothing unexpected in it keeps a model from being saved."""
    if layer.state is None:
        return None, layer.reason
    try:
        content = pickle.dumps(layer.state)
        restricted_loads(content)
    except Exception as error:
        return None, f"its state cannot be read again ({type(error).__name__})"
    return content, None


def restore(model: OnPolicyAlgorithm, content: bytes | None) -> None:
    """Put the training of a model that was loaded into the state that :func:`dumps` read.

    Where the environments cannot be restored, a warning says why, and training will begin a new episode. They are
    seeded from the saved state, so that resuming twice gives the same.

    :param model: the model, with environments made like those it was saved with
    :param content: what :func:`dumps` gave; ``None`` if there is none
    :raises UnreadableCheckpointError: if there is none, or it is damaged
    :raises ValueError: if there are other environments now: more or fewer, or in other wrappers
    """
    if content is None:
        raise UnreadableCheckpointError("the file has no state of the training: load() it, and begin a new episode")
    try:
        _restore(model, restricted_loads(content))
    except DAMAGE as error:
        if isinstance(error, ValueError):
            # worded for users already
            raise
        raise UnreadableCheckpointError(
            f"the state of the training is damaged ({type(error).__name__}: {error})"
        ) from error


def _restore(model: OnPolicyAlgorithm, state: dict[str, Any]) -> None:
    assert model.env is not None
    if model.n_envs != state["n_envs"]:
        raise ValueError(f"env: the model was saved with {state['n_envs']} environments, now there are {model.n_envs}")
    if state["env"] is None:
        reason: str | None = "the model was saved without environments"
    else:
        model.env.reset()
        reason = env_states.restore(model.env, [_unpickled(*layer) for layer in state["env"]])
    if reason is not None:
        warnings.warn(f"training goes on at the beginning of an episode, since {reason}", stacklevel=4)
        model._last_obs = None
        model.env.seed(_seed(model.num_timesteps, state["generators"]))
    noise = _noise(model)
    if noise is not None:
        for name in NOISE:
            setattr(noise, name, th.as_tensor(state["noise"][name], device=model.device))
    generators.restore(state["generators"])


def _unpickled(content: bytes | None, reason: str | None) -> env_states.LayerState:
    return env_states.LayerState(None if content is None else restricted_loads(content), reason)


def _seed(num_timesteps: int, saved: dict[str, Any]) -> int:
    """Derive a seed from where a training stands, another one at every step."""
    numpy_state = saved["numpy"]["state"]
    entropy = [num_timesteps, numpy_state["pos"], *map(zlib.crc32, (numpy_state["key"], saved["torch"]))]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def _noise(model: OnPolicyAlgorithm) -> StateDependentNoiseDistribution | None:
    distribution = model.policy.action_dist
    return distribution if isinstance(distribution, StateDependentNoiseDistribution) else None
