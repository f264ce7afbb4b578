"""Training that continues from its last save when the same script runs again after a kill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_a2c_td.algorithms.callbacks import SaveEvery, callback_list
from sb3_a2c_td.algorithms.settings import check_same_settings
from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.arguments import checked_steps
from sb3_a2c_td.saving.paths import zip_path

Model = TypeVar("Model", bound=TDA2C)


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
    :raises ValueError: if ``total_timesteps`` is invalid, or if the settings of the saved model differ from those of
        the model that ``make_model`` returns
    """
    total_timesteps = checked_steps("total_timesteps", total_timesteps)
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
    saved = type(model)._continue(path, model.env, model.device, trusted)
    check_same_settings(saved, model, path)
    saved.engine = model.engine
    saved.verbose = model.verbose
    saved.tensorboard_log = model.tensorboard_log
    return saved
