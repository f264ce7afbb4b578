"""Training that continues from its last save when the same script runs again after a kill."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import get_system_info

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.saving.paths import zip_path
from sb3_a2c_td.version import __version__

Model = TypeVar("Model", bound=TDA2C)

ARGUMENTS_WITHOUT_EFFECT = frozenset({"env", "engine", "device", "verbose", "tensorboard_log", "_init_setup_model"})
"""constructor arguments that may differ between a saved model and a new one: learning does not depend on them"""
ATTRIBUTES_OF_ARGUMENTS = {"policy": "policy_class", "stats_window_size": "_stats_window_size"}
"""constructor arguments that models keep in an attribute of another name"""


def train_resumably(
    make_model: Callable[[], Model],
    total_timesteps: int,
    path: str | Path,
    save_freq: int = 10_000,
    callback: MaybeCallback = None,
    trusted: bool = False,
    **learn_arguments: Any,
) -> Model:
    """Train a model and save it during training. After a kill, call it again: it continues from the last save.

    The result equals that of one uninterrupted run, bit for bit, if :meth:`TDA2C.resume` can restore the environments.
    If training is already complete, the model is only loaded.

    .. code-block:: python

        model = train_resumably(lambda: TDA2C("MlpPolicy", "CartPole-v1", seed=0), 1_000_000, "cartpole")

    :param make_model: builds the model and its environments as for a first run; the environments are then put back into
        their saved states. A ``DistributedTDA2C`` continues by its ``continue_from``, with new episodes
    :param total_timesteps: environment steps of the whole training
    :param path: the zip, written every ``save_freq`` steps and at the end
    :param save_freq: the number of environment steps between two saves
    :param callback: callback(s) called at every step; their own state is not saved
    :param trusted: as in :meth:`TDA2C.load`
    :param learn_arguments: more arguments of :meth:`TDA2C.learn`
    :return: the trained model
    :raises ValueError: if the settings of the saved model differ from those of the model that ``make_model`` returns
    """
    path = zip_path(path)
    model = make_model()
    if path.exists():
        model = _load_to_continue(model, path, trusted)
    steps_left = total_timesteps - model.num_timesteps
    if steps_left > 0:
        callbacks = CallbackList([*callback_list(callback), SaveEvery(save_freq, path)])
        model.learn(steps_left, callbacks, reset_num_timesteps=model.num_timesteps == 0, **learn_arguments)
        model.save(path)
    return model


def _load_to_continue(model: Model, path: Path, trusted: bool) -> Model:
    """Load the saved model with the new one's environments, after checking that their settings match."""
    assert model.env is not None
    # DistributedTDA2C cannot resume exactly, and has this method for continuing with new episodes
    load = getattr(type(model), "continue_from", type(model).resume)
    saved: Model = load(path, model.env, device=model.device, trusted=trusted)
    _check_same_settings(saved, model, path)
    saved.engine = model.engine
    saved.verbose = model.verbose
    saved.tensorboard_log = model.tensorboard_log
    return saved


def _check_same_settings(saved: TDA2C, model: TDA2C, path: Path) -> None:
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


def callback_list(callback: MaybeCallback) -> list[BaseCallback]:
    """Return callbacks as a list.

    :param callback: as in :meth:`TDA2C.learn`: ``None``, a callback, a list of callbacks or a function
    """
    if callback is None:
        return []
    if isinstance(callback, list):
        return callback
    if isinstance(callback, BaseCallback):
        return [callback]
    return [ConvertCallback(callback)]


class SaveEvery(BaseCallback):
    """Saves the model to the same zip every ``n_steps`` environment steps.

    SB3's ``CheckpointCallback`` counts its own calls and writes a new file each time. ``EveryNTimesteps`` counts from
    zero, so that it would save at the first step of every continued training.

    :param n_steps: the number of environment steps between two saves
    :param path: the zip
    """

    def __init__(self, n_steps: int, path: Path) -> None:
        super().__init__()
        self._n_steps = n_steps
        self._path = path

    def _on_training_start(self) -> None:
        self._last_save = self.num_timesteps

    def _on_step(self) -> bool:
        if self.num_timesteps - self._last_save >= self._n_steps:
            self._last_save = self.num_timesteps
            self.model.save(self._path)
        return True
