"""Learning curves from the logs of SB3's ``Monitor`` or from saved models."""

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from stable_baselines3.common.monitor import get_monitor_files

from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.saving import read_attributes

# Monitor's names for an episode's return, its steps, and the seconds from the log's start to its end
_RETURN, _LENGTH, _TIME = "r", "l", "t"
_N_POINTS = 200
"""number of points of a mean curve"""


def plot_learning_curve(
    *runs: str | Path, labels: Sequence[str] | None = None, smoothing: int = 20, ax: Axes | None = None
) -> Axes:
    """Plot the returns of training episodes over environment steps.

    Each run is drawn as a faint point per episode, and as a line: the moving average over the last ``smoothing``
    episodes. The line begins at the first episode with a full average, so a shorter run has points only. A run is one
    of

    - a folder in which ``Monitor`` logged the environments of one run (``make_vec_env(..., monitor_dir=...)``), or one
      file of such a folder. An episode is plotted at the total number of steps of all episodes up to its end. Steps of
      unfinished episodes do not count.
    - a model saved by ``TDA2C``. Its zip holds only the last ``stats_window_size`` episodes (100 by default), without
      the steps at which they ended. These are counted back from the model's number of steps as if the last episode had
      ended there, so the curve lies too far to the right by the steps of the unfinished episodes. No code from the zip
      is run.

    :param runs: folders, Monitor files and zips
    :param labels: the runs' names in the legend; ``None``: their paths
    :param smoothing: the number of episodes in the moving average; 1: no smoothing
    :param ax: the axes to draw into; ``None``: those of a new pyplot figure
    :return: the axes
    :raises FileNotFoundError: if a folder or file does not exist
    :raises ValueError: if there are no runs, if the number of labels differs from that of runs, if a run has no
        finished episode, or if a file is neither a Monitor log nor a model of TDA2C
    """
    if not runs:
        raise ValueError("runs: expected at least one folder or file of Monitor, or zip of TDA2C; got none")
    labels = [str(run) for run in runs] if labels is None else labels
    if len(labels) != len(runs):
        raise ValueError(f"labels={labels!r}: expected one label for each of the {len(runs)} runs")
    check_at_least_one("smoothing", smoothing)
    # read all runs before drawing, so that an invalid one leaves no unfinished figure
    episodes = [_episodes(Path(run)) for run in runs]
    ax = plt.figure(layout="constrained").subplots() if ax is None else ax
    for run, label in zip(episodes, labels, strict=True):
        means = run[_RETURN].rolling(smoothing).mean().dropna()
        (line,) = ax.plot(means.index, means, label=label, zorder=3)
        ax.plot(run.index, run[_RETURN], ".", color=line.get_color(), markersize=3, alpha=0.3)
    ax.set(xlabel="environment steps", ylabel=f"return (line: mean of {smoothing} episodes)")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def plot_mean_curves(
    runs: Mapping[str, Sequence[str | Path]],
    *,
    over: Literal["steps", "seconds"] = "steps",
    smoothing: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Plot the mean and the range of the learning curves of several runs each, such as those of several seeds.

    A run's curve is the mean return of its last ``smoothing`` episodes, or of all so far if they are fewer. A mean is
    drawn from the first episode of each of its runs to the last of the shortest one. Runs that have no steps or seconds
    in common are drawn one by one.

    :param runs: logs of ``Monitor`` by label: files, or folders with the logs of a run's environments
    :param over: whether to plot over environment steps or over seconds since the start of the log
    :param smoothing: the number of episodes that a run's curve averages over
    :param ax: the axes to draw into; ``None``: those of a new pyplot figure
    :return: the axes
    :raises FileNotFoundError: if a folder or file does not exist
    :raises ValueError: if a run has no finished episode, if a file is not a Monitor log, or if the times in a log that
        is plotted over seconds show that a later training continued it
    """
    check_at_least_one("smoothing", smoothing)
    curves = {label: [_curve(Path(run), over, smoothing) for run in same] for label, same in runs.items()}
    ax = plt.figure(layout="constrained").subplots() if ax is None else ax
    for label, same in curves.items():
        first, last = max(curve.index[0] for curve in same), min(curve.index[-1] for curve in same)
        if first > last:
            lines = ax.plot(same[0].index, same[0], label=label)
            for curve in same[1:]:
                ax.plot(curve.index, curve, color=lines[0].get_color())
            continue
        grid = np.linspace(first, last, _N_POINTS)
        returns = [np.interp(grid, curve.index, curve) for curve in same]
        (line,) = ax.plot(grid, np.mean(returns, axis=0), label=label)
        ax.fill_between(grid, np.min(returns, axis=0), np.max(returns, axis=0), color=line.get_color(), alpha=0.2)
    ax.set(xlabel="environment steps" if over == "steps" else "seconds", ylabel=f"return, mean of {smoothing} episodes")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def _curve(run: Path, over: Literal["steps", "seconds"], smoothing: int) -> pd.Series:
    """Return the moving average of a run's returns, by step or second."""
    log, _ = _of_monitor(run)
    if log.empty:
        raise ValueError(f"{run}: the run has no finished episode; train for longer")
    if over == "seconds" and log["part"].any():
        raise ValueError(f"{run}: training was continued, and Monitor's clock restarted; plot over='steps'")
    # each environment's log has its own start
    ends = log[_LENGTH].cumsum() if over == "steps" else log[_TIME] - log["start"].min()
    return log.set_index(ends)[_RETURN].rolling(smoothing, min_periods=1).mean()


def _episodes(run: Path) -> pd.DataFrame:
    """Read the episodes of a run in order.

    :return: one row per episode with ``r`` and ``l``, indexed by the step at which the episode ended
    """
    is_log = run.is_dir() or run.suffix == ".csv"
    episodes, first_step = _of_monitor(run) if is_log else _of_model(run)
    if episodes.empty:
        raise ValueError(f"{run}: the run has no finished episode; train for longer")
    return episodes.set_index(first_step + episodes[_LENGTH].cumsum())


def _of_monitor(run: Path) -> tuple[pd.DataFrame, int]:
    """Read the logs of a run's environments; return the episodes and the step at which the first one began."""
    files = get_monitor_files(glob.escape(str(run))) if run.is_dir() else [str(run)]
    if not files:
        raise FileNotFoundError(f"{run}: no file in this folder ends in monitor.csv; pass monitor_dir to make_vec_env")
    # SB3's load_results sorts by time alone, but Monitor's clock restarts when it appends to an existing log
    logs = pd.concat([_monitor_log(file) for file in files])
    return logs.sort_values(["part", _TIME], kind="stable"), 0


def _monitor_log(file: str) -> pd.DataFrame:
    with open(file) as lines:
        try:
            header = json.loads(lines.readline().removeprefix("#"))
            log = pd.read_csv(lines, usecols=[_RETURN, _LENGTH, _TIME], dtype=float)
            log["part"] = (log[_TIME].diff() < 0).cumsum()
            log["start"] = header["t_start"]
            log[_TIME] += header["t_start"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not a Monitor log, or it is damaged ({error})") from error
    return log


def _of_model(run: Path) -> tuple[pd.DataFrame, int]:
    """Read the last episodes of a saved model; return them and the step at which the first one began."""
    attributes = read_attributes(run, ["ep_info_buffer", "num_timesteps"])
    try:
        episodes = pd.DataFrame(list(attributes["ep_info_buffer"] or ()), columns=[_RETURN, _LENGTH], dtype=float)
        return episodes, attributes["num_timesteps"] - episodes[_LENGTH].sum()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run} does not hold Monitor's episode statistics ({error})") from error
