"""The state of a training run besides the model, from which ``resume`` continues as if the run had not stopped.

To save something more, add it to the dict in :func:`dumps`, and put it back in :func:`_restore`.
"""

import pickle
import warnings
import zlib
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.saving import env_states, generators
from sb3_a2c_td.saving.errors import UnreadableCheckpointError
from sb3_a2c_td.saving.unpickling import restricted_loads
from sb3_a2c_td.saving.unpickling.unpickler import PICKLE_DAMAGE

NOISE = ("exploration_mat", "exploration_matrices")
"""the attributes of gSDE's distribution that hold its noise"""


def dumps(model: OnPolicyAlgorithm, streams: RandomStreams) -> bytes:
    """Pickle the state of a model's training: the generators, the environments, the noise of gSDE.

    :param model: the model
    :param streams: the model's own generators
    :return: a pickle of plain data
    """
    layers = None if model.env is None else env_states.states_of(model.env)
    distribution = _sde_distribution(model)
    state = {
        "generators": generators.states(),
        "streams": {name: rng.bit_generator.state for name, rng in vars(streams).items()},
        "n_envs": model.n_envs,
        "env": None if layers is None else [_pickled(layer) for layer in layers],
        "noise": {}
        if distribution is None
        else {name: getattr(distribution, name).numpy(force=True) for name in NOISE},
    }
    return pickle.dumps(state)


def _pickled(layer: env_states.LayerState) -> tuple[bytes | None, str | None]:
    """Pickle a state that can be read again; with any other, the model is saved all the same."""
    if layer.state is None:
        return None, layer.reason
    try:
        content = pickle.dumps(layer.state)
        restricted_loads(content)
    except Exception as error:
        return None, f"its state cannot be read again ({type(error).__name__})"
    return content, None


def restore(model: OnPolicyAlgorithm, streams: RandomStreams, content: bytes | None) -> None:
    """Put the training of a loaded model into the state that :func:`dumps` pickled.

    If the environments cannot be restored, a warning gives the reason, and training starts a new episode. They are then
    seeded from the saved state, so that resuming twice gives the same training.

    :param model: the model, with environments created like those it was saved with
    :param streams: the model's own generators
    :param content: the pickle; ``None`` if the file has none
    :raises UnreadableCheckpointError: if there is none, or if it is damaged
    :raises ValueError: if the number of environments or SB3's wrappers around them are different now
    """
    if content is None:
        raise UnreadableCheckpointError("the file has no state of the training: use load(), which starts a new episode")
    try:
        _restore(model, streams, restricted_loads(content))
    except ValueError:
        # worded for users already
        raise
    except PICKLE_DAMAGE as error:
        raise UnreadableCheckpointError(
            f"the state of the training is damaged ({type(error).__name__}: {error})"
        ) from error


def _restore(model: OnPolicyAlgorithm, streams: RandomStreams, state: dict[str, Any]) -> None:
    assert model.env is not None
    if model.n_envs != state["n_envs"]:
        raise ValueError(f"env: the model was saved with {state['n_envs']} environments, now there are {model.n_envs}")
    reason = _restore_envs(model.env, state["env"])
    if reason is not None:
        warnings.warn(f"training continues with a new episode, because {reason}", stacklevel=4)
        model._last_obs = None
        model.env.seed(_seed(model.num_timesteps, state["generators"]))
    distribution = _sde_distribution(model)
    if distribution is not None:
        for name in NOISE:
            setattr(distribution, name, th.as_tensor(state["noise"][name], device=model.device))
    _restore_streams(streams, state["streams"])
    generators.restore(state["generators"])


def _restore_streams(streams: RandomStreams, saved: dict[str, Any]) -> None:
    for name, rng in vars(streams).items():
        generators.check_numpy_state(saved[name])
        rng.bit_generator.state = saved[name]


def _restore_envs(env: VecEnv, layers: list[tuple[bytes | None, str | None]] | None) -> str | None:
    """Restore the environments; return the reason if they cannot be restored."""
    if layers is None:
        return "the model was saved without environments"
    env.reset()
    return env_states.restore(env, [_unpickled(*layer) for layer in layers])


def _unpickled(content: bytes | None, reason: str | None) -> env_states.LayerState:
    return env_states.LayerState(None if content is None else restricted_loads(content), reason)


def _seed(num_timesteps: int, saved: dict[str, Any]) -> int:
    """Derive a seed from the number of steps and the saved generators: a different one at every step."""
    numpy_state = saved["numpy"]["state"]
    entropy = [num_timesteps, numpy_state["pos"], zlib.crc32(numpy_state["key"]), zlib.crc32(saved["torch"])]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def _sde_distribution(model: OnPolicyAlgorithm) -> StateDependentNoiseDistribution | None:
    distribution = model.policy.action_dist
    return distribution if isinstance(distribution, StateDependentNoiseDistribution) else None
