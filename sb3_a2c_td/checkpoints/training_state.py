"""What a training run needs, beside the model, to go on as if it had not been stopped."""

import pickle
import warnings
from typing import Any

import torch as th
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td.checkpoints import env_states, generators
from sb3_a2c_td.checkpoints.errors import UnreadableCheckpointError
from sb3_a2c_td.checkpoints.unpickling import restricted_loads

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
            "env": None if model.env is None else [tuple(layer) for layer in env_states.states_of(model.env)],
            "noise": {} if noise is None else {name: getattr(noise, name).numpy(force=True) for name in NOISE},
        }
    )


def restore(model: OnPolicyAlgorithm, content: bytes | None, trusted: bool) -> None:
    """Put the training of a model that was loaded into the state that :func:`dumps` read.

    Where the environments cannot be restored, a warning says why, and training will begin a new episode, always the
    same one: they are seeded from the generators' state.

    :param model: the model, with environments made like those it was saved with
    :param content: what :func:`dumps` gave; ``None`` if there is none
    :param trusted: whether to unpickle whatever it holds
    :raises ValueError: if there is none, or there are other environments now: more or fewer, or in other wrappers
    """
    assert model.env is not None
    if content is None:
        raise UnreadableCheckpointError("the file has no state of the training: load() it, and begin a new episode")
    state: dict[str, Any] = pickle.loads(content) if trusted else restricted_loads(content)
    if model.n_envs != state["n_envs"]:
        raise ValueError(f"env: the model was saved with {state['n_envs']} environments, now there are {model.n_envs}")
    if state["env"] is None:
        reason: str | None = "the model was saved without environments"
    else:
        model.env.reset()
        reason = env_states.restore(model.env, [env_states.LayerState(*layer) for layer in state["env"]])
    if reason is not None:
        warnings.warn(f"training goes on at the beginning of an episode, since {reason}", stacklevel=3)
        model._last_obs = None
        model.env.seed(int(state["generators"]["numpy"]["state"]["key"][0]))
    noise = _noise(model)
    if noise is not None:
        for name in NOISE:
            setattr(noise, name, th.as_tensor(state["noise"][name], device=model.device))
    generators.restore(state["generators"])


def _noise(model: OnPolicyAlgorithm) -> StateDependentNoiseDistribution | None:
    distribution = model.policy.action_dist
    return distribution if isinstance(distribution, StateDependentNoiseDistribution) else None
