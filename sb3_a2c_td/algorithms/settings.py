"""Comparisons of the settings of two models."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.utils import get_system_info

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.version import __version__

ARGUMENTS_WITHOUT_EFFECT = frozenset({"env", "engine", "device", "verbose", "tensorboard_log", "_init_setup_model"})
"""constructor arguments that may differ between a saved model and a new one: learning does not depend on them"""
ATTRIBUTES_OF_ARGUMENTS = {"policy": "policy_class", "stats_window_size": "_stats_window_size"}
"""constructor arguments that models keep in an attribute of another name"""


def check_same_settings(saved: TDA2C, model: TDA2C, path: Path) -> None:
    """Check that two models have the same settings, apart from those that do not affect learning.

    :param saved: the saved model
    :param model: the model that is to continue its training
    :param path: the zip of the saved model
    :raises ValueError: if a setting differs
    """
    saved_settings = _settings(saved)
    for name, value in _settings(model).items():
        if not _are_equal(saved_settings[name], value):
            raise ValueError(
                f"{path} was saved with {name}={saved_settings[name]!r}, but the model has {name}={value!r}: use "
                "another path to start again, or the saved setting to continue"
            )


def fingerprint(model: TDA2C) -> dict[str, str]:
    """Return what must match for two processes to train the same model, as texts that can be compared.

    :param model: the model
    :return: versions, the settings that affect learning, and the state of training, by their names
    """
    versions = {**get_system_info(print_info=False)[0], "sb3_a2c_td": __version__}
    # machines may differ
    del versions["OS"]
    state = {name: getattr(model, name) for name in ("n_envs", "observation_space", "action_space", "num_timesteps")}
    state["transitions of an incomplete rollout"] = len(model.rollout_buffer)
    state["trained parameters"] = [name for name, param in model.policy.named_parameters() if param.requires_grad]
    return versions | {name: _as_text(value) for name, value in (_settings(model) | state).items()}


def _as_text(value: Any) -> str:
    if callable(value) and not isinstance(value, type):
        rates = [str(value(progress_remaining)) for progress_remaining in (1.0, 0.75, 0.5, 0.25, 0.0)]
        return f"rates {', '.join(rates)}"
    # each process has its own addresses
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _settings(model: TDA2C) -> dict[str, Any]:
    """Return the constructor arguments that affect learning, with their values, sorted by name."""
    names = {*_constructor_arguments(TDA2C), *_constructor_arguments(type(model))} - ARGUMENTS_WITHOUT_EFFECT
    # a subclass may keep its own argument under another name, which is unknown here: both sides are then None
    return {name: getattr(model, ATTRIBUTES_OF_ARGUMENTS.get(name, name), None) for name in sorted(names)}


def _constructor_arguments(algorithm: type[TDA2C]) -> set[str]:
    return set(inspect.signature(algorithm).parameters)


def _are_equal(saved: Any, value: Any) -> bool:
    if callable(saved) and callable(value) and not isinstance(value, type):
        # schedules are equal if their rates are
        return all(saved(progress) == value(progress) for progress in np.linspace(1.0, 0.0, 101).tolist())
    try:
        np.testing.assert_equal(saved, value)
    except AssertionError:
        return False
    return True
