"""``compare``: train TDA2C and SB3's A2C on several seeds, and show how they learned."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import fmean, median
from types import FrameType
from typing import Annotated, Any

import gymnasium as gym
import torch as th
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from sb3_a2c_td import TDA2C
from sb3_a2c_td.cli import outputs, usage_errors
from sb3_a2c_td.cli.models import N_EVAL_EPISODES
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.hyperparams.tda2c import general_setting, policy_for

PROCESSES = multiprocessing.get_context("spawn")
N_REPORTS = 5
STEPS_BETWEEN_CHECKS = 100
"""the number of steps after which a process checks whether to stop"""


def _general(env: gym.Env[Any, Any], seed: int) -> TDA2C:
    return TDA2C(env=env, seed=seed, device="cpu", **general_setting(env.observation_space, env.action_space))


def _reference(env: gym.Env[Any, Any], seed: int) -> TDA2C:
    return TDA2C(policy_for(env.observation_space), env, seed=seed, device="cpu")


def _a2c(env: gym.Env[Any, Any], seed: int) -> A2C:
    return A2C(policy_for(env.observation_space), env, seed=seed, device="cpu")


ARMS: Mapping[str, Callable[[gym.Env[Any, Any], int], TDA2C | A2C]] = {
    "TDA2C, general setting": _general,
    "TDA2C, reference settings": _reference,
    "SB3's A2C": _a2c,
}
"""what is compared: a name, and how to make its model"""
FILES = dict(zip(ARMS, ("tda2c", "tda2c_reference", "a2c"), strict=True))
"""the beginnings of the names of each arm's files"""


@dataclass(frozen=True)
class Run:
    """The results of training one arm with one seed."""

    arm: str
    seed: int
    timesteps: int
    n_episodes: int
    seconds: float
    mean_return: float
    """over ``N_EVAL_EPISODES`` episodes after training"""

    @property
    def file(self) -> str:
        """The names of its files, without suffix."""
        return f"{FILES[self.arm]}_{self.seed}"


def compare(
    env: Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.")],
    timesteps: Annotated[int, typer.Option(min=1, help="Environment steps of each training.")] = 50_000,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each arm.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The first seed.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for models, logs and picture; existing ones are replaced.",
            show_default="a new folder in this one",
        ),
    ] = None,
) -> None:
    """Train TDA2C and SB3's A2C, and show how they learned.

    TDA2C trains with the general setting and with the settings of the reference program, A2C with its defaults: each on
    several seeds, on one CPU core per training, as many at once as there are cores. The folder receives the models, the
    logs of their training episodes, and a picture of their learning curves over steps and over seconds. Ctrl-C or
    SIGTERM stops all early; the results are still shown and saved.

    \b
    Examples:
      sb3-a2c-td compare CartPole-v1
      sb3-a2c-td compare Acrobot-v1 --timesteps 20000 --seeds 5 --output acrobot
    """
    stop = PROCESSES.Event()
    with usage_errors.reported():
        _check_supported(env, seed)

    received: list[int] = []

    def stop_all(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        stop.set()
        # the terminal may be closed
        with suppress(OSError):
            print("Stopping ...", file=sys.stderr)

    with interrupts.handled_once(stop_all):
        with usage_errors.reported():
            stem = f"compare_{outputs.name_in_files(env)}"
            folder = outputs.writable_folder(output, "--output") if output else outputs.new_folder(stem)
        runs = _train_all(env, timesteps, range(seed, seed + seeds), folder, stop)
        print(_table(runs))
        print("A few seeds: an impression, not a benchmark.")
        print(f"Models: {folder}/*.zip")
        _plot(runs, env, folder)
    if received:
        raise typer.Exit(128 + received[0])


def _check_supported(env_id: str, seed: int) -> None:
    """Make each model once, so that an unsupported environment raises here rather than in a child process."""
    env = gym.make(env_id)
    for make_model in ARMS.values():
        make_model(env, seed)
    env.close()


def _train_all(env_id: str, timesteps: int, seeds: range, folder: Path, stop: Event) -> list[Run]:
    """Train each arm with each seed in processes, until all are complete or were stopped; return those that began."""
    n_processes = min(os.cpu_count() or 1, len(ARMS) * len(seeds))
    with ProcessPoolExecutor(n_processes, PROCESSES, _initialize_process, (stop,)) as pool:
        # a child ignores signals only after its initialization
        with interrupts.blocked():
            futures = [pool.submit(_train, arm, env_id, timesteps, seed, folder) for seed in seeds for arm in ARMS]
        # on Windows, Ctrl-C is handled only between two waits
        while wait(futures, timeout=1).not_done:
            if stop.is_set():
                for future in futures:
                    future.cancel()
        try:
            return [future.result() for future in futures if not future.cancelled()]
        except BaseException:
            # if one child was killed, the pool waits for the end of the others
            stop.set()
            raise


# In the child processes

_stop: Event


def _initialize_process(stop: Event) -> None:
    # ignored and not only blocked, since code of the environment may unblock it
    interrupts.leave_to_parent()
    global _stop
    _stop = stop


def _train(arm: str, env_id: str, timesteps: int, seed: int, folder: Path) -> Run:
    """Train an arm on one thread, save the model and evaluate it."""
    th.set_num_threads(1)
    path = folder / f"{FILES[arm]}_{seed}"
    env = Monitor(gym.make(env_id), str(path))
    model = ARMS[arm](env, seed)
    start = time.perf_counter()
    model.learn(timesteps, _ReportAndStop(f"{arm}, seed {seed}", report_freq=max(timesteps // N_REPORTS, 1)))
    seconds = time.perf_counter() - start
    model.save(path)
    env.close()
    mean_return, _ = evaluate_policy(model, Monitor(gym.make(env_id)), n_eval_episodes=N_EVAL_EPISODES)
    assert isinstance(mean_return, float)
    return Run(arm, seed, model.num_timesteps, len(env.get_episode_rewards()), seconds, mean_return)


class _ReportAndStop(BaseCallback):
    """Reports the progress of training, and stops it after a stop signal in the parent.

    :param name: what is trained
    :param report_freq: the number of steps between two reports
    """

    def __init__(self, name: str, report_freq: int) -> None:
        super().__init__()
        self._name = name
        self._report_freq = report_freq

    def _on_step(self) -> bool:
        if self.n_calls % self._report_freq == 0:
            # in one call, since several processes write at once
            sys.stderr.write(f"{self._name}: {self.num_timesteps:,} steps\n")
        return self.n_calls % STEPS_BETWEEN_CHECKS > 0 or not _stop.is_set()


# Results


def _by_arm(runs: list[Run]) -> dict[str, list[Run]]:
    """Group the runs by arm; arms without runs are left out."""
    grouped = {arm: [run for run in runs if run.arm == arm] for arm in ARMS}
    return {arm: of_arm for arm, of_arm in grouped.items() if of_arm}


def _table(runs: list[Run]) -> str:
    table = Table("", box=box.MARKDOWN)
    for header in (f"mean return, {N_EVAL_EPISODES} evaluation episodes", "by seed", "steps", "steps/s"):
        table.add_column(header, justify="right")
    for arm, of_arm in _by_arm(runs).items():
        speed = median(run.timesteps / run.seconds for run in of_arm)
        returns = [run.mean_return for run in of_arm]
        n_steps = max(run.timesteps for run in of_arm)
        by_seed = ", ".join(f"{each:.1f}" for each in returns)
        table.add_row(arm, f"{fmean(returns):.1f}", by_seed, f"{n_steps:,}", f"{speed:,.0f}")
    console = Console(width=120)
    with console.capture() as lines:
        console.print(table)
    # the box has edges of spaces above and below
    return lines.get().strip()


def _plot(runs: list[Run], env_id: str, folder: Path) -> None:
    picture = folder / "learning_curves.png"
    with_episodes = _by_arm([run for run in runs if run.n_episodes > 0])
    logs = {arm: [folder / f"{run.file}.monitor.csv" for run in of_arm] for arm, of_arm in with_episodes.items()}
    if not logs:
        picture.unlink(missing_ok=True)
        print("No training episode ended, so there are no learning curves: train for longer.")
        return
    # imported here, since that takes a second
    from matplotlib.figure import Figure

    from sb3_a2c_td.plotting.learning_curves import plot_mean_curves

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    over_steps, over_seconds = figure.subplots(1, 2, sharey=True)
    plot_mean_curves(logs, ax=over_steps)
    plot_mean_curves(logs, over="seconds", ax=over_seconds)
    over_seconds.set_ylabel("")
    figure.suptitle(f"{env_id}: mean and range over {len({run.seed for run in runs})} seeds")
    figure.savefig(picture, dpi=150)
    print(f"Learning curves: {picture}")
