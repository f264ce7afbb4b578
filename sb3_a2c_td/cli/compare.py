"""``compare``: train TDA2C and SB3's A2C at the same time, and show how they learned."""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
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
from sb3_a2c_td.hyperparams.tda2c import policy_for

PROCESSES = multiprocessing.get_context("spawn")
ALGORITHMS: dict[str, type[TDA2C] | type[A2C]] = {"TDA2C": TDA2C, "A2C": A2C}
N_REPORTS = 5
STEPS_BETWEEN_CHECKS = 100
"""the number of steps after which a process checks whether to stop"""


@dataclass(frozen=True)
class Run:
    """The results of training one algorithm."""

    algorithm: str
    timesteps: int
    n_episodes: int
    seconds: float
    mean_return: float
    """over ``N_EVAL_EPISODES`` episodes after training"""


def compare(
    env: Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.")],
    timesteps: Annotated[int, typer.Option(min=1, help="Environment steps for each algorithm.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of both algorithms.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for models, logs and picture; existing ones are replaced.",
            show_default="a new folder in this one",
        ),
    ] = None,
) -> None:
    """Train TDA2C and SB3's A2C, and show how they learned.

    Both use their default settings and train at the same time, on one CPU core each. The folder receives both models,
    the logs of their training episodes and a picture of their learning curves. Ctrl-C or SIGTERM stops both early; the
    results are still shown and saved. One seed shows that both run and about how fast. It does not show which one is
    better.

    \b
    Examples:
      sb3-a2c-td compare CartPole-v1
      sb3-a2c-td compare Pendulum-v1 --timesteps 50000 --seed 1 --output pendulum
    """
    stop = PROCESSES.Event()
    with usage_errors.reported():
        _check_supported(env, seed)

    received: list[int] = []

    def stop_both(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        stop.set()
        # the terminal may be closed
        with suppress(OSError):
            print("Stopping ...", file=sys.stderr)

    with interrupts.handled_once(stop_both):
        with usage_errors.reported():
            stem = f"compare_{outputs.name_in_files(env)}"
            folder = outputs.writable_folder(output, "--output") if output else outputs.new_folder(stem)
        runs = _train_both(env, timesteps, seed, folder, stop)
        print(_table(runs))
        print(f"One seed ({seed}): an example, not a comparison.")
        print(f"Models: {', '.join(f'{folder / run.algorithm.lower()}.zip' for run in runs)}")
        _plot(runs, env, folder)
    if received:
        raise typer.Exit(128 + received[0])


def _check_supported(env_id: str, seed: int) -> None:
    """Make each model once, so that an unsupported environment raises here rather than in a child process."""
    env = gym.make(env_id)
    for algorithm in ALGORITHMS.values():
        _make_model(algorithm, env, seed)
    env.close()


def _make_model(algorithm: type[TDA2C] | type[A2C], env: gym.Env[Any, Any], seed: int) -> TDA2C | A2C:
    return algorithm(policy_for(env.observation_space), env, seed=seed, device="cpu")


def _train_both(env_id: str, timesteps: int, seed: int, folder: Path, stop: Event) -> list[Run]:
    """Train each algorithm in its own process, until both are complete or were stopped."""
    with ProcessPoolExecutor(len(ALGORITHMS), PROCESSES, _initialize_process, (stop,)) as pool:
        # a child ignores signals only after its initialization
        with interrupts.blocked():
            futures = [pool.submit(_train, name, env_id, timesteps, seed, folder) for name in ALGORITHMS]
        # on Windows, Ctrl-C is handled only between two waits
        while wait(futures, timeout=1).not_done:
            pass
        try:
            return [future.result() for future in futures]
        except BaseException:
            # if one child was killed, the pool waits for the end of the other
            stop.set()
            raise


# In the child processes

_stop: Event


def _initialize_process(stop: Event) -> None:
    # ignored and not only blocked, since code of the environment may unblock it
    interrupts.leave_to_parent()
    global _stop
    _stop = stop


def _train(name: str, env_id: str, timesteps: int, seed: int, folder: Path) -> Run:
    """Train an algorithm with its default settings on one thread, save it and evaluate it."""
    th.set_num_threads(1)
    path = folder / name.lower()
    env = Monitor(gym.make(env_id), str(path))
    model = _make_model(ALGORITHMS[name], env, seed)
    start = time.perf_counter()
    model.learn(timesteps, _ReportAndStop(report_freq=max(timesteps // N_REPORTS, 1)))
    seconds = time.perf_counter() - start
    model.save(path)
    env.close()
    mean_return, _ = evaluate_policy(model, Monitor(gym.make(env_id)), n_eval_episodes=N_EVAL_EPISODES)
    assert isinstance(mean_return, float)
    return Run(name, model.num_timesteps, len(env.get_episode_rewards()), seconds, mean_return)


class _ReportAndStop(BaseCallback):
    """Reports the progress of training, and stops it after a stop signal in the parent.

    :param report_freq: the number of steps between two reports
    """

    def __init__(self, report_freq: int) -> None:
        super().__init__()
        self._report_freq = report_freq

    def _on_step(self) -> bool:
        if self.n_calls % self._report_freq == 0:
            # in one call, since two processes write at once
            sys.stderr.write(f"{type(self.model).__name__:>6}: {self.num_timesteps:,} steps\n")
        return self.n_calls % STEPS_BETWEEN_CHECKS > 0 or not _stop.is_set()


# Results


def _table(runs: list[Run]) -> str:
    table = Table("algorithm", box=box.MARKDOWN)
    for header in (f"mean return, {N_EVAL_EPISODES} evaluation episodes", "steps", "steps/s"):
        table.add_column(header, justify="right")
    for run in runs:
        speed = run.timesteps / run.seconds
        table.add_row(run.algorithm, f"{run.mean_return:.1f}", f"{run.timesteps:,}", f"{speed:,.0f}")
    console = Console(width=100)
    with console.capture() as lines:
        console.print(table)
    # the box has edges of spaces above and below
    return lines.get().strip()


def _plot(runs: list[Run], env_id: str, folder: Path) -> None:
    picture = folder / "learning_curve.png"
    with_episodes = [run.algorithm for run in runs if run.n_episodes > 0]
    if not with_episodes:
        picture.unlink(missing_ok=True)
        print("No training episode ended, so there are no learning curves: train for longer.")
        return
    # imported here, since that takes a second
    from matplotlib.figure import Figure

    from sb3_a2c_td.plotting.learning_curves import plot_learning_curve

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    logs = [folder / f"{name.lower()}.monitor.csv" for name in with_episodes]
    axes = plot_learning_curve(*logs, labels=with_episodes, ax=figure.subplots())
    axes.set_title(f"{env_id}, default settings, one seed")
    figure.savefig(picture, dpi=150)
    print(f"Learning curves: {picture}")
