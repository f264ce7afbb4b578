"""Training that goes on where it was, when the same command runs again after a kill."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import get_system_info

from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.saving.archives import zip_path
from sb3_a2c_td.version import __version__

Model = TypeVar("Model", bound=TDA2C)

MAY_CHANGE = frozenset({"env", "engine", "device", "verbose", "tensorboard_log", "_init_setup_model"})
"""arguments of a model that do not change what it learns"""
ATTRIBUTES = {"policy": "policy_class", "stats_window_size": "_stats_window_size"}
"""the attributes that keep arguments of other names"""


def train_resumably(
    make_model: Callable[[], Model],
    total_timesteps: int,
    path: str | Path,
    save_freq: int = 10_000,
    callback: MaybeCallback = None,
    trusted: bool = False,
    **learn_arguments: Any,
) -> Model:
    """Train a model, and save it as it trains; called again after a kill, go on from what was saved last.

    What comes out is what one run without a stop gives, where :meth:`TDA2C.resume` can restore the environments. A
    training that is complete is not repeated: its model is loaded.

    .. code-block:: python

        model = train_resumably(lambda: TDA2C("MlpPolicy", "CartPole-v1", seed=0), 1_000_000, "cartpole")

    :param make_model: makes the model, with its environments, as for a first run. The environments are then put back as
        they were, with their own settings
    :param total_timesteps: environment steps of the whole training
    :param path: the zip, written every so often and at the end
    :param save_freq: the number of steps after which it is written again
    :param callback: callback(s) called at every step; what they keep to themselves is not saved
    :param trusted: as in :meth:`TDA2C.load`
    :param learn_arguments: more arguments of :meth:`TDA2C.learn`
    :return: the trained model
    :raises ValueError: if the saved model was made with other settings than ``make_model`` gives now
    """
    path = zip_path(path)
    model = make_model()
    if path.exists():
        model = _resumed(model, path, trusted)
    steps_left = total_timesteps - model.num_timesteps
    if steps_left > 0:
        callbacks = CallbackList([*callback_list(callback), SaveEvery(save_freq, path)])
        model.learn(steps_left, callbacks, reset_num_timesteps=model.num_timesteps == 0, **learn_arguments)
        model.save(path)
    return model


def _resumed(model: Model, path: Path, trusted: bool) -> Model:
    assert model.env is not None
    resumed = type(model).resume(path, model.env, device=model.device, trusted=trusted)
    saved_settings = _settings_of(resumed)
    for name, wanted in _settings_of(model).items():
        saved = saved_settings[name]
        if not _are_same(saved, wanted):
            raise ValueError(
                f"{path} was saved with {name}={saved!r}, and the model has {name}={wanted!r} now: give it another "
                "path to begin anew, or the old setting to go on"
            )
    resumed.engine, resumed.verbose, resumed.tensorboard_log = model.engine, model.verbose, model.tensorboard_log
    return resumed


def description(model: TDA2C) -> dict[str, str]:
    """Describe a model in words that are the same in another process, where it is the same model.

    :param model: the model
    :return: the versions that it runs on, the arguments that change what it learns, and where it stands
    """
    versions = {**get_system_info(print_info=False)[0], "sb3_a2c_td": __version__}
    # not the machine's
    del versions["OS"]
    state = {name: getattr(model, name) for name in ("n_envs", "observation_space", "action_space", "num_timesteps")}
    state["transitions of an unfinished interval"] = len(model.rollout_buffer)
    state["trained parameters"] = [name for name, param in model.policy.named_parameters() if param.requires_grad]
    return versions | {name: _as_text(value) for name, value in (_settings_of(model) | state).items()}


def _as_text(value: Any) -> str:
    if callable(value) and not isinstance(value, type):
        return f"rates {', '.join(str(value(progress)) for progress in (1.0, 0.75, 0.5, 0.25, 0.0))}"
    # addresses differ
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _settings_of(model: TDA2C) -> dict[str, Any]:
    names = {**_arguments(TDA2C), **_arguments(type(model))}.keys() - MAY_CHANGE
    # a subclass may keep its own arguments elsewhere
    return {name: getattr(model, ATTRIBUTES.get(name, name), None) for name in sorted(names)}


def _arguments(kind: type) -> Mapping[str, Any]:
    return inspect.signature(kind).parameters


def _are_same(saved: Any, wanted: Any) -> bool:
    if callable(saved) and callable(wanted) and not isinstance(wanted, type):
        # schedules
        return all(saved(progress) == wanted(progress) for progress in np.linspace(1.0, 0.0, 101).tolist())
    try:
        np.testing.assert_equal(saved, wanted)
    except AssertionError:
        return False
    return True


def callback_list(callback: MaybeCallback) -> list[BaseCallback]:
    """List callbacks, however they were given."""
    if callback is None:
        return []
    if isinstance(callback, list):
        return callback
    return [callback if isinstance(callback, BaseCallback) else ConvertCallback(callback)]


class SaveEvery(BaseCallback):
    """Saves the model whenever so many steps were taken.

    :param n_steps: how many
    :param path: the zip
    """

    def __init__(self, n_steps: int, path: Path) -> None:
        super().__init__()
        self._n_steps = n_steps
        self._path = path

    def _on_training_start(self) -> None:
        self._n_saved = self.num_timesteps

    def _on_step(self) -> bool:
        if self.num_timesteps - self._n_saved >= self._n_steps:
            self._n_saved = self.num_timesteps
            self.model.save(self._path)
        return True
