"""Learning curves, drawn from the logs of SB3's ``Monitor`` or from saved models."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from stable_baselines3.common.monitor import get_monitor_files

from sb3_a2c_td.arguments import check_at_least_one
from sb3_a2c_td.saving import read_attributes

# what Monitor calls an episode's return, its steps, and the seconds until its end
_RETURN, _LENGTH, _TIME = "r", "l", "t"


def plot_learning_curve(
    *runs: str | Path, labels: Sequence[str] | None = None, smoothing: int = 20, ax: Axes | None = None
) -> Axes:
    """Draw the returns of training episodes over the environment steps.

    Each run becomes a faint point an episode, and a line: the mean of an episode and the ones before it, ``smoothing``
    together. It begins with the first that has as many, so a run of fewer has points only. A run is

    - the folder in which ``Monitor`` logged its environments (``make_vec_env(..., monitor_dir=...)``), all files in it
      being the environments of one run, or one such file. An episode stands at the number of steps in all the
      episodes up to its end; those of unfinished ones do not count;
    - a model that ``TDA2C`` saved. Its zip holds the last ``stats_window_size`` episodes only, 100 unless the model
      was made with another number. They are counted back from the model's number of steps, as if the last one had
      ended there: they stand too far to the right by the steps of the episodes that were unfinished then. No code in
      the zip is run.

    :param runs: the folders, Monitor files and zips
    :param labels: what the legend calls them; ``None``: as they were given
    :param smoothing: the number of episodes that a point of a line is the mean of; 1: no smoothing
    :param ax: where to draw; ``None``: in a new figure of pyplot's
    :return: where it was drawn
    :raises FileNotFoundError: if there is no such folder or file
    :raises ValueError: if nothing is to be drawn, the labels are not as many as the runs, no episode of a run was
        finished, or its file is neither a Monitor log nor a model of TDA2C
    """
    if not runs:
        raise ValueError("runs: none given; name folders or files that Monitor wrote, or zips that TDA2C saved")
    labels = [str(run) for run in runs] if labels is None else labels
    if len(labels) != len(runs):
        raise ValueError(f"labels={labels!r}: expected one for each of the {len(runs)} runs")
    check_at_least_one("smoothing", smoothing)
    # all are read first, so that a wrong one leaves no figure half drawn
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


def _episodes(run: Path) -> pd.DataFrame:
    """Read the episodes of a run in their order.

    :return: a row an episode, with ``r`` and ``l``; its index is the step at which the episode ended
    """
    is_log = run.is_dir() or run.suffix == ".csv"
    episodes, first_step = _of_monitor(run) if is_log else _of_model(run)
    if episodes.empty:
        raise ValueError(f"{run}: no episode was finished in it; train for longer")
    return episodes.set_index(first_step + episodes[_LENGTH].cumsum())


def _of_monitor(run: Path) -> tuple[pd.DataFrame, int]:
    """Read the logs of the environments of a run, and give the step at which it began."""
    files = get_monitor_files(glob.escape(str(run))) if run.is_dir() else [str(run)]
    if not files:
        raise FileNotFoundError(f"{run}: no file in it ends in monitor.csv; give make_vec_env a monitor_dir")
    # SB3's load_results would sort by the clock alone, which starts anew where Monitor went on with an earlier log
    logs = pd.concat([_monitor_log(file) for file in files])
    return logs.sort_values(["part", _TIME], kind="stable"), 0


def _monitor_log(file: str) -> pd.DataFrame:
    with open(file) as lines:
        try:
            header = json.loads(lines.readline().removeprefix("#"))
            log = pd.read_csv(lines, usecols=[_RETURN, _LENGTH, _TIME], dtype=float)
            log["part"] = (log[_TIME].diff() < 0).cumsum()
            log[_TIME] += header["t_start"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: Monitor did not write it, or it is damaged ({error})") from error
    return log


def _of_model(run: Path) -> tuple[pd.DataFrame, int]:
    """Read what a saved model knows of its last episodes, and give the step at which the first of these began."""
    attributes = read_attributes(run, ["ep_info_buffer", "num_timesteps"])
    try:
        episodes = pd.DataFrame(list(attributes["ep_info_buffer"] or ()), columns=[_RETURN, _LENGTH], dtype=float)
        return episodes, attributes["num_timesteps"] - episodes[_LENGTH].sum()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run}: it holds no episodes as Monitor describes them ({error})") from error
