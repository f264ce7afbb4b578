"""What ``train`` runs: make the environments and the model, train, save, evaluate."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from tempfile import gettempdir
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch as th
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended
from sb3_a2c_td.algorithms.callbacks import PrintEpisodes, SaveEvery
from sb3_a2c_td.algorithms.resumable import continue_training, reserved_and_loaded
from sb3_a2c_td.cli import outputs, usage_errors
from sb3_a2c_td.cli.models import available_device, evaluate, find_modules_here, has_tuned_settings, make_env
from sb3_a2c_td.cli.options import Training, as_yaml, read_config
from sb3_a2c_td.engines.compilation import announced_compilation
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.hyperparams.tda2c import general_setting, policy_for
from sb3_a2c_td.saving import atomic
from sb3_a2c_td.vec_env.action_masks import check_masks_available
from sb3_a2c_td.version import __version__

ALGORITHMS: dict[str, type[TDA2C]] = {"tda2c": TDA2C, "maskable": MaskableTDA2C, "recurrent": RecurrentTDA2C}
SAVE_FREQ = 10_000
"""steps between two saves under torchrun and with --resume, unless --save-freq says another number"""
WANDB_PROJECT = "sb3-a2c-td"
EVALUATIONS = ".evaluations"
"""the end of the name of the folder next to the zip"""
OPTIONS = ".options.yaml"
"""the end of the name of the file next to the zip"""
LOGS = "runs"
"""the folder of the logs that Weights & Biases copies"""


def run(training: Training) -> None:
    """Train, evaluate and save one model, or one for each seed.

    :param training: what to train
    """
    with usage_errors.reported():
        _check(training)
    if training.n_seeds == 1:
        _run_one(training)
        return
    first = _seed(training) or 0
    for seed in range(first, first + training.n_seeds):
        print(f"Seed {seed}")
        save = training.save and training.save.with_name(f"{training.save.name.removesuffix('.zip')}_seed{seed}")
        _run_one(replace(training.with_seed(seed), save=save))


def make_envs(training: Training, n_envs: int | None = None) -> VecEnv:
    """Make environments.

    :param training: what to train
    :param n_envs: how many; ``None``: as many as to train in
    """
    n_envs = n_envs or training.n_envs
    return make_env(training.env, training.env_kwargs or {}, n_envs, _seed(training), is_tuned=training.tuned)


def make_model(training: Training, make: Callable[..., TDA2C], env: VecEnv, device: str) -> TDA2C:
    """Make the model.

    :param training: what to train
    :param make: the algorithm
    :param env: the environments
    :param device: its device
    """
    if training.algo == "maskable":
        check_masks_available(env)
    arguments = (_tuned(training, env) if training.tuned else {}) | training.arguments
    recommended_policy = arguments.pop("policy", policy_for(env.observation_space))
    policy = training.policy or recommended_policy
    if training.algo == "recurrent" and "Lstm" not in policy:
        policy = policy.replace("Policy", "LstmPolicy")
    if training.track:
        arguments.setdefault("tensorboard_log", LOGS)
    arguments["policy_kwargs"] = with_classes(arguments.get("policy_kwargs") or {})
    return make(policy, env, **arguments | {"device": device})


def _tuned(training: Training, env: VecEnv) -> dict[str, Any]:
    if has_tuned_settings(training.env, training.env_kwargs or {}):
        return recommended(env)
    _report(f"--tuned: no settings were tuned for {training.env} with these arguments; it takes the general setting")
    return general_setting(env.observation_space, env.action_space)


def with_classes(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Replace the names of classes by the classes: those of ``torch.nn`` and ``torch.optim``, or ``module.Class``.

    :param policy_kwargs: arguments of a policy
    """
    return {
        name: _class(value) if isinstance(value, str) and name.endswith(("_fn", "_class")) else value
        for name, value in policy_kwargs.items()
    }


def is_under_torchrun() -> bool:
    """Check whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _class(name: str) -> Any:
    if "." in name:
        find_modules_here()
        try:
            return resolve_name(name)
        except (AttributeError, ImportError, ValueError) as error:
            raise ValueError(f"--policy-kwargs: {name} cannot be imported: {error}") from error
    for module in (th.nn, th.optim):
        if hasattr(module, name):
            return getattr(module, name)
    raise ValueError(f"--policy-kwargs: {name} is no class of torch.nn or torch.optim; write module.{name}")


def _seed(training: Training) -> int | None:
    return training.arguments.get("seed")


def _check(training: Training) -> None:
    """Check that the options fit together.

    :param training: what to train
    :raises ValueError: if they do not, naming them
    """
    if training.resume and training.save is None:
        raise ValueError("--resume needs --save, the name of the training to continue")
    if training.eval_freq is not None and training.eval_episodes == 0:
        raise ValueError("--eval-freq needs at least one of --eval-episodes")
    if training.tuned and training.algo == "recurrent":
        raise ValueError("--tuned: no settings were tuned for --algo recurrent; leave one out")
    if is_under_torchrun() and (training.tuned or training.resume or training.algo != "tda2c"):
        raise ValueError("under torchrun, leave out --algo, --tuned and --resume; restarted processes continue anyway")


def _run_one(training: Training) -> None:
    with ExitStack() as contexts:
        with usage_errors.reported():
            device = available_device(training.arguments.get("device", "auto"))
            wanted = None if training.save is None else _writable_zip(training.save)
            training = _with_drawn_seed(training, wanted)
            if training.track:
                contexts.enter_context(_tracked(training))
            make: Callable[..., TDA2C] = ALGORITHMS[training.algo]
            rank: int | None = None
            if is_under_torchrun():
                from sb3_a2c_td.cli import ranks  # not every PyTorch has torch.distributed

                rank = contexts.enter_context(ranks.process_group(device, wanted))
                make = partial(ranks.make_or_continue, wanted)
            if not training.resume:
                # continue_training() handles signals itself, unless something else does
                contexts.enter_context(interrupts.handled())
            path: Path | None = None
            if rank is None or rank == 0:
                reservation = nullcontext(wanted) if training.resume else _reserved_zip(wanted, _name(training))
                path = contexts.enter_context(reservation)
            model = make_model(training, make, make_envs(training), device)
            if training.resume:
                assert path is not None
                model = contexts.enter_context(reserved_and_loaded(model, training.timesteps, path))
            callbacks = _callbacks(training, model, path, rank)
            eval_env = make_envs(training, 1)
        saved_to: Path | None
        if training.resume:
            assert path is not None
            _resume(training, model, path, callbacks)
            saved_to = path
        else:
            saved_to = _train_and_save(training, model, path, rank, callbacks)
        if rank is not None:
            ranks.leave_together()
        if saved_to is not None:
            _evaluate(model, eval_env, training.eval_episodes, saved_to)
        if saved_to != path:
            raise SystemExit(1)


def _with_drawn_seed(training: Training, path: Path | None) -> Training:
    """Draw a seed if none is given, so that the file of options trains the same model.

    :param training: what to train
    :param path: the zip; a training that continues in it keeps the seed in its file
    """
    if _seed(training) is not None or is_under_torchrun():
        return training
    if training.resume and path is not None and path.exists():
        file = path.with_suffix(OPTIONS)
        seed = read_config(file).get("seed") if file.exists() else None
        return training if seed is None else training.with_seed(seed)
    return training.with_seed(secrets.randbelow(2**31))


def _name(training: Training) -> str:
    """Return the name of the zip if the options give none."""
    of_seed = "" if training.n_seeds == 1 else f"_seed{_seed(training)}"
    return f"tda2c_{outputs.name_in_files(training.env)}{of_seed}"


@contextmanager
def _tracked(training: Training) -> Iterator[None]:
    """Log to Weights & Biases what is logged to TensorBoard."""
    try:
        import wandb
    except ImportError as error:
        raise ValueError("--track needs two packages: pip install wandb tensorboard") from error
    try:
        run = wandb.init(project=WANDB_PROJECT, config=training.written, sync_tensorboard=True)
    except wandb.Error as error:
        raise ValueError(f"--track: {error}") from error
    with run:
        yield


def _write_options(training: Training, path: Path) -> None:
    """Write the options next to the zip, so that --config can train again; if that fails, say so."""
    file = path.with_suffix(OPTIONS)
    comment = f"# options of sb3-a2c-td {__version__}: sb3-a2c-td train --config {file.name}\n"
    try:
        atomic.write((comment + as_yaml(training.written)).encode(), file)
    except OSError as error:
        _report(f"The options are not saved: {error}")


def _reserved_zip(wanted: Path | None, name: str) -> AbstractContextManager[Path]:
    if wanted is not None:
        return outputs.replaced_file(wanted, "--save")
    return outputs.new_file(name, ".zip", companions=(OPTIONS, EVALUATIONS))


def _callbacks(training: Training, model: TDA2C, path: Path | None, rank: int | None) -> list[BaseCallback]:
    """Return the callbacks of a training; ranks other than 0 have none."""
    if path is None:
        return []
    callbacks: list[BaseCallback] = []
    if not training.quiet:
        callbacks.append(PrintEpisodes())
    save_freq = training.save_freq or (None if rank is None else SAVE_FREQ)
    if training.resume:
        # continue_training() saves the model itself
        callbacks.append(SaveEvery(training.save_freq or SAVE_FREQ, partial(_write_options, training, path)))
    elif save_freq is not None:
        callbacks.append(SaveEvery(save_freq, partial(_save_model_and_options, training, model, path)))
    if training.eval_freq is not None:
        folder = str(path.with_suffix(EVALUATIONS))
        evaluate_often = MaskableEvalCallback if training.algo == "maskable" else EvalCallback
        evaluation = evaluate_often(
            make_envs(training, 1),
            n_eval_episodes=training.eval_episodes,
            # it counts its calls
            eval_freq=max(1, training.eval_freq // model.n_envs),
            log_path=folder,
            best_model_save_path=folder,
            verbose=not training.quiet,
        )
        if training.resume and model.num_timesteps > 0:
            _continue_evaluations(evaluation, model)
        callbacks.append(evaluation)
    return callbacks


def _continue_evaluations(callback: EvalCallback, model: TDA2C) -> None:
    """Take over the evaluations of an earlier part of the training, so that its best model is kept.

    :param callback: the callback of this part
    :param model: the model, as the earlier part saved it
    :raises ValueError: if the earlier evaluations had another number of episodes
    """
    callback.n_calls = model.num_timesteps // model.n_envs
    file = Path(f"{callback.log_path}.npz")
    try:
        with np.load(file) as archive:
            evaluations = dict(archive)
    except FileNotFoundError:
        return
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        # SB3 does not write it atomically
        _report(f"{file} is damaged, so the earlier evaluations are lost: {error}")
        return
    returns = evaluations["results"]
    if returns.shape[1] != callback.n_eval_episodes:
        raise ValueError(
            f"--eval-episodes {callback.n_eval_episodes}: those in {file} have {returns.shape[1]} episodes each; take "
            "the same number, or move the file"
        )
    # the others are repeated
    kept = evaluations["timesteps"] <= model.num_timesteps
    if kept.any():
        callback.best_mean_reward = returns[kept].mean(axis=1).max()
    callback.evaluations_timesteps = evaluations["timesteps"][kept].tolist()
    callback.evaluations_results = returns[kept].tolist()
    callback.evaluations_length = evaluations["ep_lengths"][kept].tolist()
    if "successes" in evaluations:
        callback.evaluations_successes = evaluations["successes"][kept].tolist()


def _resume(training: Training, model: TDA2C, path: Path, callbacks: list[BaseCallback]) -> None:
    """Train in a way that the same command line continues after a kill."""
    if model.num_timesteps > training.timesteps:
        _report(f"{path} has {model.num_timesteps:,} steps already: nothing is trained")
        return
    try:
        continue_training(
            model,
            training.timesteps,
            path,
            training.save_freq or SAVE_FREQ,
            callbacks,
            progress_bar=_shows_bar(training),
        )
        _write_options(training, path)
    except (KeyboardInterrupt, SystemExit):
        # after a stop signal
        if path.exists():
            _write_options(training, path)
            _report(f"\nStopped. Saved to {path}. The same command line continues.")
        raise


def _shows_bar(training: Training) -> bool:
    # None: it is closed
    return sys.stdout is not None and sys.stdout.isatty() and not training.quiet


def _train_and_save(
    training: Training, model: TDA2C, path: Path | None, rank: int | None, callbacks: list[BaseCallback]
) -> Path | None:
    """Train a model and save it, even if a stop signal or an error ends training.

    :param training: what to train
    :param model: the model
    :param path: the zip; ``None`` on ranks other than 0, which save and print nothing
    :param rank: the rank under torchrun
    :param callbacks: the callbacks
    :return: the zip that was written
    """
    steps_left = max(0, training.timesteps - model.num_timesteps)
    is_new = steps_left == training.timesteps
    announced = announced_compilation() if path is not None and not training.quiet else nullcontext()
    with interrupts.handled_once(), announced:
        try:
            model.learn(steps_left, callbacks, reset_num_timesteps=is_new, progress_bar=_shows_bar(training))
            return None if path is None else _save(training, model, path)
        except BaseException:
            interrupts.ignore()
            # the model is as it was after its last update
            if path is not None:
                _save_stopped(training, model, path)
            raise


def _save_stopped(training: Training, model: TDA2C, path: Path) -> None:
    """Save a model whose training was stopped, unless it has learned nothing and would replace an earlier one."""
    stopped = f"\nStopped after {model.num_timesteps:,} steps"
    if model._n_updates == 0 and (model.num_timesteps == 0 or path.exists()):
        _report(f"{stopped}, before the first update. Nothing is saved")
    else:
        _report(f"{stopped}. Saved to {_save(training, model, path)}")


def _save(training: Training, model: TDA2C, path: Path) -> Path:
    """Save a model, in another place if it cannot be saved in the given one, with the options.

    :param training: what was trained
    :param model: the model
    :param path: the zip
    :return: the zip that was written
    :raises OSError: if the model cannot be saved anywhere
    """
    try:
        model.save(path)
    except OSError as error:
        for find_folder in (Path.cwd, Path.home, gettempdir):
            # a user may have no home
            with (
                suppress(OSError, RuntimeError),
                outputs.new_file(path.stem, path.suffix, Path(find_folder())) as other_path,
            ):
                model.save(other_path)
                _write_options(training, other_path)
                _report(f"\n{error}. Saving in another place instead.")
                return other_path
        raise
    _write_options(training, path)
    return path


def _save_model_and_options(training: Training, model: TDA2C, path: Path) -> None:
    model.save(path)
    _write_options(training, path)


def _report(message: str) -> None:
    # the terminal may be closed
    with suppress(OSError):
        print(message, file=sys.stderr)


def _evaluate(model: TDA2C, env: VecEnv, n_episodes: int, path: Path) -> None:
    try:
        if n_episodes > 0:
            mean, std = evaluate(model, env, n_episodes)
            noun = "episode" if n_episodes == 1 else "episodes"
            print(f"Mean return of {n_episodes} evaluation {noun}: {mean:.2f} +/- {std:.2f}")
    finally:
        print(f"Saved to {path}")


def _writable_zip(save: Path) -> Path:
    outputs.writable_folder(save.parent, "--save")
    if save.is_dir():
        raise ValueError(f"--save {save} is a folder; name a file in it")
    return save if save.suffix == ".zip" else save.with_name(f"{save.name}.zip")
