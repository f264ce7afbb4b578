"""What ``compare`` runs: trainings in processes, a table and a picture."""

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from ctypes import c_bool
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from types import FrameType
from typing import Any

import numpy as np
import torch as th
from rich import box
from rich.console import Console
from rich.table import Table
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import TDA2C, recommended
from sb3_a2c_td.algorithms.callbacks import Episode, EpisodeCallback, StopOnRequest
from sb3_a2c_td.cli import outputs, usage_errors, watching
from sb3_a2c_td.cli.models import has_tuned_settings, make_env
from sb3_a2c_td.cli.options import N_EVAL_EPISODES
from sb3_a2c_td.faults import interrupts
from sb3_a2c_td.hyperparams.tda2c import general_setting, policy_for

PROCESSES = multiprocessing.get_context("spawn")
Flag = Any
"""a bool in memory that processes share, without a lock, which a killed process might hold"""
CURVES = "learning_curves.png"
RECORDING = "best.gif"
N_REPORTS = 5
MAX_PICTURES = 1000
"""the number of pictures of the best model"""


@dataclass(frozen=True)
class Arm:
    """An algorithm with settings.

    :param label: its name in the table and the picture
    :param file: the beginning of the names of its files
    :param algorithm: the algorithm
    :param settings: the arguments of its constructor, for an environment
    """

    label: str
    file: str
    algorithm: type[OnPolicyAlgorithm]
    settings: Callable[[VecEnv], dict[str, Any]]

    def make(self, env: VecEnv, seed: int) -> OnPolicyAlgorithm:
        """Make its model.

        :param env: the environments
        :param seed: the seed
        """
        return self.algorithm(env=env, seed=seed, device="cpu", **self.settings(env))


TUNED = "tuned"


def _general(env: VecEnv) -> dict[str, Any]:
    return general_setting(env.observation_space, env.action_space)


def _defaults(env: VecEnv) -> dict[str, Any]:
    return {"policy": policy_for(env.observation_space)}


ARMS = {
    "general": Arm("TDA2C, general setting", "tda2c", TDA2C, _general),
    TUNED: Arm("TDA2C, tuned settings", "tda2c_tuned", TDA2C, recommended),
    "reference": Arm("TDA2C, reference settings", "tda2c_reference", TDA2C, _defaults),
    "a2c": Arm("SB3's A2C", "a2c", A2C, _defaults),
    "ppo": Arm("SB3's PPO", "ppo", PPO, _defaults),
}
"""what can be compared, by the names of ``--arms``"""


@dataclass(frozen=True)
class Comparison:
    """What to compare.

    :param env_id: the environment's id
    :param env_kwargs: its arguments
    :param timesteps: environment steps of each training
    :param arms: keys of :data:`ARMS`
    :param seeds: the seeds of each arm
    """

    env_id: str
    env_kwargs: dict[str, Any]
    timesteps: int
    arms: tuple[str, ...]
    seeds: range

    def make_env(self, arm: str, n_envs: int | None = None, render_mode: str | None = None) -> VecEnv:
        """Make the environments of an arm: for tuned settings, the number and the wrapper that they were tuned with.

        :param arm: the arm
        :param n_envs: how many; ``None``: as many as to train in
        :param render_mode: how to show them
        """
        shown = {} if render_mode is None else {"render_mode": render_mode}
        return make_env(self.env_id, self.env_kwargs | shown, n_envs, is_tuned=arm == TUNED)


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
        return f"{ARMS[self.arm].file}_{self.seed}"


def run(comparison: Comparison, output: Path | None) -> None:
    """Train all arms with all seeds, and show how they learned.

    :param comparison: what to compare
    :param output: the folder of the files; ``None``: a new one
    :raises SystemExit: if a signal came or a training failed, after the results of the others
    """
    stop = PROCESSES.RawValue(c_bool, False)
    with usage_errors.reported():
        _check_supported(comparison)

    received: list[int] = []

    def stop_all(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        stop.value = True
        # the terminal may be closed
        with suppress(OSError):
            print("Stopping ...", file=sys.stderr)

    with interrupts.handled_once(stop_all):
        with usage_errors.reported():
            stem = f"compare_{outputs.name_in_files(comparison.env_id)}"
            folder = outputs.writable_folder(output, "--output") if output else outputs.new_folder(stem)
            # of an earlier comparison
            for name in (CURVES, RECORDING):
                (folder / name).unlink(missing_ok=True)
        runs, n_failed = _train_all(comparison, folder, stop)
        if runs:
            _show(runs, comparison, folder)
    if received:
        raise SystemExit(128 + received[0])
    if n_failed > 0:
        raise SystemExit(1)


def _check_supported(comparison: Comparison) -> None:
    """Make each model once, so that an unsupported environment raises here rather than in a child process."""
    # raises if the extra is not installed
    import_module("sb3_a2c_td.plotting")
    if TUNED in comparison.arms and not has_tuned_settings(comparison.env_id, comparison.env_kwargs):
        raise ValueError(
            f"--tuned: no settings were tuned for {comparison.env_id} with these arguments; leave it out, the general "
            "setting is compared anyway"
        )
    for arm in comparison.arms:
        env = comparison.make_env(arm)
        ARMS[arm].make(env, comparison.seeds[0])
        env.close()


def _train_all(comparison: Comparison, folder: Path, stop: Flag) -> tuple[list[Run], int]:
    """Train each arm with each seed in processes, until all have ended or were stopped.

    :return: the trainings that began, and how many others failed
    """
    n_processes = min(os.cpu_count() or 1, len(comparison.arms) * len(comparison.seeds))
    with ProcessPoolExecutor(n_processes, PROCESSES, _initialize_process, (stop,)) as pool:
        # a child ignores signals only after its initialization
        with interrupts.blocked():
            futures = [
                pool.submit(_run_or_error, comparison, arm, seed, folder)
                for seed in comparison.seeds
                for arm in comparison.arms
            ]
        # on Windows, Ctrl-C is handled only between two waits
        while wait(futures, timeout=1).not_done:
            if stop.value:
                for future in futures:
                    future.cancel()
        # if one child was killed, the pool waits for the end of the others
        stop.value = True
    ended = [future for future in futures if not future.cancelled()]
    results = [future.result() for future in ended if future.exception() is None]
    runs = [result for result in results if isinstance(result, Run)]
    for result in results:
        if isinstance(result, str):
            print(result, file=sys.stderr)
    lost = [error for future in ended if (error := future.exception()) is not None]
    if lost:
        print(f"{len(lost)} trainings were lost: {lost[0]!r}", file=sys.stderr)
    return runs, len(ended) - len(runs)


# In the child processes

_stop: Flag


def _initialize_process(stop: Flag) -> None:
    # ignored and not only blocked, since code of the environment may unblock it
    interrupts.leave_to_parent()
    global _stop
    _stop = stop


def _run_or_error(comparison: Comparison, arm: str, seed: int, folder: Path) -> Run | str:
    """Train, and return an error as text, since the parent could not unpickle each exception."""
    try:
        return _train(comparison, arm, seed, folder)
    except Exception:
        return f"{_name(arm, seed)} failed:\n{traceback.format_exc()}"


def _name(arm: str, seed: int) -> str:
    """Name a training in messages."""
    return f"{ARMS[arm].label}, seed {seed}"


def _train(comparison: Comparison, arm: str, seed: int, folder: Path) -> Run:
    """Train an arm on one thread, save the model and evaluate it."""
    th.set_num_threads(1)
    path = folder / f"{ARMS[arm].file}_{seed}"
    for old_log in path.glob("*.monitor.csv"):
        # of an earlier comparison, perhaps with more environments
        old_log.unlink()
    env = comparison.make_env(arm)
    model = ARMS[arm].make(env, seed)
    report = EveryNTimesteps(max(comparison.timesteps // N_REPORTS, 1), _Report(_name(arm, seed)))
    log = _LogEpisodes(path / "0.monitor.csv", comparison.env_id)
    start = time.perf_counter()
    model.learn(comparison.timesteps, [log, report, StopOnRequest(lambda: _stop.value)])
    seconds = time.perf_counter() - start
    model.save(path)
    env.close()
    mean_return, _ = evaluate_policy(model, comparison.make_env(arm, 1), n_eval_episodes=N_EVAL_EPISODES)
    assert isinstance(mean_return, float)
    return Run(arm, seed, model.num_timesteps, log.n_episodes, seconds, mean_return)


class _Report(BaseCallback):
    """Reports the progress of a training.

    :param name: what is trained
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def _on_step(self) -> bool:
        # in one call, since several processes write at once
        sys.stderr.write(f"{self._name}: {self.num_timesteps:,} steps\n")
        return True


class _LogEpisodes(EpisodeCallback):
    """Logs training episodes as ``Monitor`` does, which compiled environments do not have.

    :param path: the file, which is replaced
    :param env_id: the environment's id
    """

    def __init__(self, path: Path, env_id: str) -> None:
        super().__init__()
        self._path = path
        self._env_id = env_id
        self.n_episodes = 0

    def _on_training_start(self) -> None:
        self._began = time.time()
        self._last_steps, self._last_seconds = self.num_timesteps, 0.0
        self._writer = ResultsWriter(str(self._path), {"t_start": self._began, "env_id": self._env_id})

    def on_episodes(self, episodes: list[Episode]) -> None:
        """Write a line for each of the next episodes."""
        steps, seconds = self.num_timesteps, time.time() - self._began
        for episode in episodes:
            # compiled training hands over those of many steps
            at = np.interp(episode.end, (self._last_steps, steps), (self._last_seconds, seconds))
            self._writer.write_row({"r": episode.value, "l": episode.length, "t": round(float(at), 6)})
        self._last_steps, self._last_seconds = steps, seconds
        self.n_episodes += len(episodes)

    def _on_training_end(self) -> None:
        self._writer.close()


# Results


def _show(runs: list[Run], comparison: Comparison, folder: Path) -> None:
    print(_table(runs))
    print("A few seeds: an impression, not a benchmark.")
    print(f"Models: {folder}/*.zip")
    _plot(runs, comparison.env_id, folder)
    _record(max(runs, key=lambda run: run.mean_return), comparison, folder)


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
        # those that were stopped have fewer
        fewest, most = (chosen(run.timesteps for run in of_arm) for chosen in (min, max))
        steps = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
        by_seed = ", ".join(f"{each:.1f}" for each in returns)
        table.add_row(
            ARMS[arm].label,
            f"{fmean(returns):.1f}",
            by_seed,
            steps,
            f"{speed:,.0f}",
        )
    console = Console(width=120)
    with console.capture() as lines:
        console.print(table)
    # the box has edges of spaces above and below
    return lines.get().strip()


def _plot(runs: list[Run], env_id: str, folder: Path) -> None:
    picture = folder / CURVES
    with_episodes = _by_arm([run for run in runs if run.n_episodes > 0])
    logs = {ARMS[arm].label: [folder / run.file for run in of_arm] for arm, of_arm in with_episodes.items()}
    if not logs:
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
    n_seeds = len({run.seed for run in runs})
    figure.suptitle(f"{env_id}, one seed" if n_seeds == 1 else f"{env_id}: mean and range over {n_seeds} seeds")
    figure.savefig(picture, dpi=150)
    print(f"Learning curves: {picture}")


def _record(best: Run, comparison: Comparison, folder: Path) -> None:
    """Record an episode of the best model, if the environment can be shown."""
    path, picture = folder / f"{best.file}.zip", folder / RECORDING
    of_sb3 = (
        ""
        if issubclass(ARMS[best.arm].algorithm, TDA2C)
        else f", which {ARMS[best.arm].algorithm.__name__}.load of SB3 takes"
    )
    print(f"Best model: {path}{of_sb3}")
    try:
        mode = watching.picture_mode()
        shown = comparison.make_env(best.arm, 1, mode)
        watching.check_shown(shown, mode)
        model = ARMS[best.arm].algorithm.load(path, shown, "cpu")
        # with the wrappers that SB3 adds, for images
        env = model.get_env()
        assert env is not None
        episode = watching.frames(model, env, n_episodes=1, deterministic=True)
        pictures = [each for each in islice(episode, MAX_PICTURES) if each is not None]
        watching.write(pictures, picture, watching.fps_of(env))
    # simulators raise errors of their own without a display or a package
    except Exception as error:
        print(f"It cannot be recorded: {error}")
    else:
        print(f"Recorded in {picture}")
