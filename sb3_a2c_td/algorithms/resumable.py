"""Training that continues from its last save when the same script runs again after a kill."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_a2c_td.algorithms.callbacks import SaveEvery, StopOnRequest, callback_list
from sb3_a2c_td.algorithms.settings import check_same_settings
from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.arguments import checked_steps
from sb3_a2c_td.faults.interrupts import StopRequest
from sb3_a2c_td.faults.workers import workers_of
from sb3_a2c_td.saving import atomic
from sb3_a2c_td.saving.checkpoints import read_attributes
from sb3_a2c_td.saving.locks import reserved
from sb3_a2c_td.saving.paths import zip_path
from sb3_a2c_td.saving.zip_entries import OF_ANY_ALGORITHM
from sb3_a2c_td.saving.zips import is_intact

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

    Ctrl-C, SIGTERM and SIGHUP stop training after the current step, save the model and end the process with the exit
    code 130, 143 or 129, unless your program handles the signal itself. A second Ctrl-C ends it without saving.

    The save before the last one stays in ``NAME.previous.zip``. If the last one is damaged, training continues from it,
    and a warning says so.

    :param make_model: builds the model and its environments as for a first run; the environments are then put back into
        their saved states. A ``DistributedTDA2C`` continues by its ``continue_from``, with new episodes
    :param total_timesteps: environment steps of the whole training
    :param path: the zip, written every ``save_freq`` steps and at the end
    :param save_freq: the number of environment steps between two saves
    :param callback: callback(s) called at every step. Their own state is not saved, and a training that one of them
        stopped is continued by the next call
    :param trusted: as in :meth:`TDA2C.load`
    :param learn_arguments: more arguments of :meth:`TDA2C.learn`
    :return: the trained model
    :raises ValueError: if ``make_model`` or ``total_timesteps`` is invalid, or if the settings of the saved model
        differ from those of the model that ``make_model`` returns
    :raises OSError: before training, if the zip cannot be written
    :raises LockedError: if another process trains the model in this file
    """
    if not callable(make_model):
        raise ValueError(
            f"make_model must be a function that makes a model, such as lambda: TDA2C(...), got {make_model}"
        )
    total_timesteps = checked_steps("total_timesteps", total_timesteps)
    path = zip_path(path)
    with reserved_and_loaded(make_model(), total_timesteps, path, trusted) as model:
        continue_training(model, total_timesteps, path, save_freq, callback, **learn_arguments)
    return model


@contextmanager
def reserved_and_loaded(model: Model, total_timesteps: int, path: Path, trusted: bool = False) -> Iterator[Model]:
    """Load the model of an earlier training, and keep other processes from training it while the context lasts.

    :param model: the model as for a first run
    :param total_timesteps: environment steps of the whole training
    :param path: the zip
    :param trusted: as in :meth:`TDA2C.load`
    :return: the model to train: the saved one with the environments of ``model``, or ``model`` if there is no zip
    :raises ValueError: if the settings of the two models differ
    :raises OSError: if the zip cannot be written
    :raises LockedError: if another process trains the model in this file
    """
    is_complete = _saved_timesteps(path, trusted) >= total_timesteps
    # a complete training may lie where nothing can be written
    with nullcontext() if is_complete else _reserved(model, path):
        newest = _newest_intact(path)
        if newest not in (path, None):
            warnings.warn(f"{path} is damaged: training continues from the save before it, {newest}", stacklevel=4)
        yield model if newest is None else _load_to_continue(model, newest, trusted)


def continue_training(
    model: TDA2C,
    total_timesteps: int,
    path: Path,
    save_freq: int,
    callback: MaybeCallback = None,
    **learn_arguments: Any,
) -> None:
    """Train a model for the steps that it lacks, and save it during training, at a stop signal and at the end.

    :param model: the model
    :param total_timesteps: environment steps of the whole training
    :param path: the zip
    :param save_freq: the number of environment steps between two saves
    :param callback: callback(s) called at every step
    :param learn_arguments: more arguments of :meth:`TDA2C.learn`
    """
    steps_left = total_timesteps - model.num_timesteps
    request = StopRequest()
    if steps_left > 0:
        save = partial(_save, model, path)
        callbacks = CallbackList([*callback_list(callback), SaveEvery(save_freq, save), StopOnRequest(request.is_set)])
        with request.installed():
            with _without_lost_workers(model, request):
                model.learn(steps_left, callbacks, reset_num_timesteps=model.num_timesteps == 0, **learn_arguments)
            save()
    request.exit_if_set()


def _saved_timesteps(path: Path, trusted: bool) -> int:
    newest = _newest_intact(path)
    if newest is None:
        return 0
    n_timesteps: int = read_attributes(newest, ["num_timesteps"], trusted).get("num_timesteps", 0)
    return n_timesteps


def _load_to_continue(model: Model, path: Path, trusted: bool) -> Model:
    """Load the saved model with the new one's environments, after checking that their settings match."""
    assert model.env is not None
    saved = type(model)._continue(path, model.env, model.device, trusted)
    check_same_settings(saved, model, path)
    saved.engine = model.engine
    saved.verbose = model.verbose
    saved.tensorboard_log = model.tensorboard_log
    return saved


@contextmanager
def _reserved(model: TDA2C, path: Path) -> Iterator[None]:
    """Check that the zip can be written, and keep other processes from training the model in it."""
    if not model._writes_files:
        yield
        return
    atomic.check_writable(path)
    with reserved(path):
        yield


@contextmanager
def _without_lost_workers(model: TDA2C, request: StopRequest) -> Iterator[None]:
    """Suppress errors after a stop signal if the environments run in worker processes, which it ends, too.

    The model can be saved then. Such environments start a new episode in any case.
    """
    try:
        yield
    except BaseException:
        if request.signum is None or request.ends_at_once or workers_of(model.env) is None:
            raise


# The last two saves


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _save(model: TDA2C, path: Path) -> None:
    if model._writes_files:
        _keep_previous(path)
    model.save(path)


def _keep_previous(path: Path) -> None:
    """Keep the last save under another name, unless it is damaged."""
    if not path.exists():
        # of an earlier training
        _previous(path).unlink(missing_ok=True)
        return
    content = path.read_bytes()
    if is_intact(content, OF_ANY_ALGORITHM):
        atomic.write(content, _previous(path))


def _newest_intact(path: Path) -> Path | None:
    """Return the path of the save to continue from: the last one, or, if it is damaged, the one before it.

    :return: the last one too if neither is intact; ``None`` if there is no last one
    """
    if not path.exists():
        return None
    previous = _previous(path)
    if is_intact(path.read_bytes(), OF_ANY_ALGORITHM) or not previous.exists():
        return path
    return previous if is_intact(previous.read_bytes(), OF_ANY_ALGORITHM) else path
