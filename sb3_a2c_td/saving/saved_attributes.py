"""The attributes that a file may set on a model, and their types."""

from collections import deque
from types import NoneType
from typing import Any

import numpy as np
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import FloatSchedule

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.errors import NotAllowedError, UnreadableCheckpointError
from sb3_a2c_td.saving.unpickling.pickled_states import INTEGER, NUMBER, Types, is_huge
from sb3_a2c_td.vec_env.normalization import RunningNormalization

BOOLEAN: Types = (bool, np.bool_)
ANY: Types = (object,)
"""what the model checks itself"""
OBSERVATIONS: Types = (np.ndarray, dict, NoneType)
EPISODES: Types = (deque, NoneType)

TYPES: dict[str, Types] = {
    # the arguments of SB3
    "policy_class": (type,),
    "policy_kwargs": (dict,),
    "verbose": INTEGER,
    "seed": (*INTEGER, NoneType),
    "tensorboard_log": (str, NoneType),
    "use_sde": BOOLEAN,
    "sde_sample_freq": INTEGER,
    "learning_rate": ANY,
    "n_steps": INTEGER,
    "gamma": NUMBER,
    "gae_lambda": NUMBER,
    "ent_coef": NUMBER,
    "vf_coef": NUMBER,
    "max_grad_norm": (*NUMBER, NoneType),
    "_stats_window_size": (*INTEGER, NoneType),
    "action_noise": (NoneType,),
    "rollout_buffer_class": (NoneType,),
    "rollout_buffer_kwargs": (dict,),
    # the arguments of TDA2C
    "critic_learning_rate": ANY,
    "reward_scale": NUMBER,
    "update_on_episode_end": (*BOOLEAN, NoneType),
    "bootstrap_on_truncation": BOOLEAN,
    "double_softmax": BOOLEAN,
    "normalize_advantage": BOOLEAN,
    "normalize_observations": BOOLEAN,
    "normalize_rewards": BOOLEAN,
    "engine": (str,),
    # the state
    "observation_space": ANY,
    "action_space": ANY,
    "n_envs": INTEGER,
    "num_timesteps": INTEGER,
    "start_time": NUMBER,
    "_total_timesteps": INTEGER,
    "_num_timesteps_at_start": INTEGER,
    "_longest_learn": INTEGER,
    "_current_progress_remaining": NUMBER,
    "_episode_num": INTEGER,
    "_n_updates": INTEGER,
    "_last_obs": OBSERVATIONS,
    "_last_original_obs": OBSERVATIONS,
    "_last_episode_starts": (np.ndarray, NoneType),
    "_last_lstm_states": (np.ndarray,),
    "ep_info_buffer": EPISODES,
    "ep_success_buffer": EPISODES,
    "trained_on": (dict, NoneType),
    "normalization": (RunningNormalization, NoneType),
    "_was_in_vec_normalize": BOOLEAN,
    "rollout_buffer": (TransitionBuffer,),
    "lr_schedule": (FloatSchedule,),
    "critic_lr_schedule": (FloatSchedule,),
}
"""the attributes that models save, and their types"""

OWN_PACKAGES = ("sb3_a2c_td", "stable_baselines3")


def check_is_saved(name: str, algorithm: type) -> None:
    """Check that an attribute is one that models save, or one that a user added.

    Anything else would replace what only the model itself sets, such as its device or its loggers.

    :param name: the attribute
    :param algorithm: the class of the model
    :raises NotAllowedError: if SB3 or this package knows it, and does not save it
    """
    if name in TYPES:
        return
    if name.startswith("__"):
        raise NotAllowedError("an attribute of Python itself")
    own_classes = [base for base in algorithm.__mro__ if base.__module__.split(".")[0] in OWN_PACKAGES]
    excluded = _excluded(own_classes[0]) if own_classes else []
    if name in excluded or any(name in vars(base) for base in own_classes):
        raise NotAllowedError("an attribute that no model saves")


def _excluded(algorithm: Any) -> list[str]:
    """Return the names that models of an algorithm do not save, without building a model."""
    if not issubclass(algorithm, OnPolicyAlgorithm):
        return []
    names: list[str] = algorithm._excluded_save_params(object.__new__(algorithm))
    return names


def check_type(name: str, value: Any) -> None:
    """Check the type of an attribute.

    :param name: the attribute
    :param value: its value
    :raises UnreadableCheckpointError: if models save values of other types under this name, or no such large integers
    """
    if name in TYPES and _holds_huge(value):
        raise UnreadableCheckpointError(f"its attribute {name!r} holds an integer of more than 64 bits")
    if not isinstance(value, TYPES.get(name, object)):
        raise UnreadableCheckpointError(f"its attribute {name!r} is a {type(value).__name__}, which no model saves")
    if name == "ep_info_buffer" and isinstance(value, deque) and not all(map(_is_episode, value)):
        raise UnreadableCheckpointError(f"its attribute {name!r} holds episodes without the numbers 'r' and 'l'")


def _holds_huge(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_huge, [*value, *value.values()]))
    return any(map(_holds_huge, value)) if isinstance(value, list | tuple | deque) else is_huge(value)


def _is_episode(info: Any) -> bool:
    return isinstance(info, dict) and all(isinstance(info.get(key), NUMBER) for key in ("r", "l"))


def saved_tensors(algorithm: Any) -> tuple[list[str], list[str]]:
    """Return the names of the modules and optimizers, and of the single tensors, that models of an algorithm save.

    :param algorithm: the class of the model. A subclass may save further ones
    """
    try:
        modules, variables = algorithm._get_torch_save_params(object.__new__(algorithm))
    except (AttributeError, TypeError):
        # abstract, or only a model that was built knows them
        return [], []
    return modules, variables
