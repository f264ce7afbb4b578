"""``train``: train TDA2C with the flags of the reference program."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import TDA2C
from sb3_a2c_td.algorithms.callbacks import PrintEpisodes, SaveEvery
from sb3_a2c_td.cli import outputs, usage_errors
from sb3_a2c_td.cli.models import N_EVAL_EPISODES, Seed, available_device
from sb3_a2c_td.compiled.making import is_compiled, make_compiled_vec_env
from sb3_a2c_td.engines.compilation import announced_compilation
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.hyperparams.tda2c import policy_for

SAVE_FREQ = 10_000
"""the number of steps between two saves under torchrun; restarted processes resume from the last one"""


def train(
    env: Annotated[str, typer.Option(help="The environment's name.")] = "CartPole-v1",
    gamma: Annotated[float, typer.Option(min=0.0, max=1.0, help="Discount factor.")] = 0.99,
    update_interval: Annotated[
        int, typer.Option("--update_interval", "--update-interval", min=1, help="Steps of a rollout.")
    ] = 5,
    actor_lr: Annotated[
        float, typer.Option("--actor_lr", "--actor-lr", min=0.0, help="The actor's learning rate.")
    ] = 0.0005,
    critic_lr: Annotated[
        float, typer.Option("--critic_lr", "--critic-lr", min=0.0, help="The critic's learning rate.")
    ] = 0.001,
    timesteps: Annotated[int, typer.Option(min=1, help="Environment steps to train for.")] = 100_000,
    n_envs: Annotated[int, typer.Option("--n_envs", "--n-envs", min=1, help="Number of parallel environments.")] = 1,
    seed: Seed = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    save: Annotated[
        Path | None,
        typer.Option(help="The zip to write; an existing one is replaced.", show_default="a new file in this folder"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither a progress bar nor the episodes.")] = False,
) -> None:
    """Train TDA2C on a Gymnasium environment, evaluate it and save it.

    The default settings are those of the reference program. Ctrl-C and SIGTERM stop training early and save the model.
    Under torchrun, each process has its own environments, and --timesteps counts the steps of all processes.

    \b
    Examples:
      sb3-a2c-td train
      sb3-a2c-td train --env Acrobot-v1 --gamma 0.99 --update_interval 5 --actor_lr 0.0005 --critic_lr 0.001
      sb3-a2c-td train --env Pendulum-v1 --n-envs 4 --timesteps 200000 --seed 1 --save models/pendulum.zip
      torchrun --nproc-per-node 2 -m sb3_a2c_td train --env CartPole-v1 --n-envs 8 --save cartpole.zip
    """
    with ExitStack() as contexts:
        with usage_errors.reported():
            device = available_device(device)
            wanted = None if save is None else _writable_zip(save)
            make_model: Callable[..., TDA2C] = TDA2C
            rank: int | None = None
            if "TORCHELASTIC_RUN_ID" in os.environ:
                from sb3_a2c_td.cli import ranks  # not every PyTorch has torch.distributed

                rank = contexts.enter_context(ranks.process_group(device, wanted))
                make_model = partial(ranks.make_or_continue, wanted)
            contexts.enter_context(interrupts.handled())
            path: Path | None = None
            if rank is None or rank == 0:
                path = contexts.enter_context(_reserved_zip(wanted, env))
            make_envs = make_compiled_vec_env if is_compiled(env) else make_vec_env
            vec_env = make_envs(env, n_envs=n_envs, seed=seed)
            model = make_model(
                policy_for(vec_env.observation_space),
                vec_env,
                learning_rate=actor_lr,
                critic_learning_rate=critic_lr,
                n_steps=update_interval,
                gamma=gamma,
                seed=seed,
                device=device,
            )
            eval_env = make_envs(env, seed=seed)
        saved_to = _train_and_save(model, path, timesteps, rank, quiet)
        if rank is not None:
            ranks.leave_together()
        if saved_to is not None:
            _evaluate(model, eval_env, saved_to)
        if saved_to != path:
            raise typer.Exit(1)


def _reserved_zip(wanted: Path | None, env_id: str) -> AbstractContextManager[Path]:
    if wanted is not None:
        return outputs.replaced_file(wanted, "--save")
    return outputs.new_file(f"tda2c_{outputs.name_in_files(env_id)}", ".zip")


def _train_and_save(model: TDA2C, path: Path | None, timesteps: int, rank: int | None, quiet: bool) -> Path | None:
    """Train a model and save it, even if a stop signal or an error ends training.

    :param path: the zip; ``None`` on ranks other than 0, which save and print nothing
    :return: the zip that was written
    """
    callbacks: list[BaseCallback] = []
    prints = path is not None and not quiet
    if prints:
        callbacks.append(PrintEpisodes())
    if path is not None and rank is not None:
        callbacks.append(SaveEvery(SAVE_FREQ, partial(model.save, path)))
    steps_left = max(0, timesteps - model.num_timesteps)
    progress_bar = sys.stdout.isatty() and not quiet
    with interrupts.handled_once(), announced_compilation() if prints else nullcontext():
        try:
            model.learn(steps_left, callbacks, reset_num_timesteps=steps_left == timesteps, progress_bar=progress_bar)
            return None if path is None else _save(model, path)
        except BaseException:
            interrupts.ignore()
            # the model is as it was after its last update
            if path is not None and (rank is None or model.num_timesteps > 0):
                saved_to = _save(model, path)
                _report(f"\nStopped after {model.num_timesteps:,} steps. Saved to {saved_to}")
            raise


def _save(model: TDA2C, path: Path) -> Path:
    """Save a model, in another place if it cannot be saved in the given one.

    :param path: the zip
    :return: the zip that was written
    :raises OSError: if the model cannot be saved anywhere
    """
    try:
        model.save(path)
        return path
    except OSError as error:
        for find_folder in (Path.cwd, Path.home, gettempdir):
            # a user may have no home
            with (
                suppress(OSError, RuntimeError),
                outputs.new_file(path.stem, path.suffix, Path(find_folder())) as other_path,
            ):
                model.save(other_path)
                _report(f"\n{error}. Saving in another place instead.")
                return other_path
        raise


def _report(message: str) -> None:
    # the terminal may be closed
    with suppress(OSError):
        print(message, file=sys.stderr)


def _evaluate(model: TDA2C, env: VecEnv, path: Path) -> None:
    try:
        mean, std = evaluate_policy(model, env, n_eval_episodes=N_EVAL_EPISODES)
        print(f"Mean return of {N_EVAL_EPISODES} evaluation episodes: {mean:.2f} +/- {std:.2f}")
    finally:
        print(f"Saved to {path}")


def _writable_zip(save: Path) -> Path:
    outputs.writable_folder(save.parent, "--save")
    if save.is_dir():
        raise ValueError(f"--save {save} is a folder; name a file in it")
    return save if save.suffix == ".zip" else save.with_name(f"{save.name}.zip")
