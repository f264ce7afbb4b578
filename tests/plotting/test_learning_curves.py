"""Learning curves draw the right numbers, and invalid runs are errors."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.results_plotter import X_TIMESTEPS, ts2xy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.plotting.learning_curves import plot_learning_curve, plot_mean_curves
from tests.environments import CountingEnv
from tests.saving.pickles import PAYLOADS, with_pickle


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def write_log(file: Path, rows: list[tuple[float, int, float]], t_start: float = 100.0) -> Path:
    """Write a log as Monitor does: return, length and time of each episode."""
    file.parent.mkdir(exist_ok=True)
    lines = [f'#{{"t_start": {t_start}, "env_id": "None"}}', "r,l,t", *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


def drawn(ax: plt.Axes) -> list[tuple[list[float], list[float]]]:
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in ax.lines]


def monitored(tmp_path: Path, n_envs: int = 1, n_steps: int = 500, **kwargs) -> TDA2C:
    env = make_vec_env("CartPole-v1", n_envs, seed=0, monitor_dir=str(tmp_path / "logs"))
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs).learn(n_steps)
    env.close()
    return model


def test_points_are_episodes_and_the_line_is_their_moving_average(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1), (2, 20, 0.2), (6, 5, 0.3), (10, 7, 0.4)])
    line, points = drawn(plot_learning_curve(log, smoothing=3))
    assert points == ([10, 30, 35, 42], [1, 2, 6, 10])
    assert line == ([35, 42], [3, 6])
    (line, points), ax = drawn(plot_learning_curve(log, smoothing=1)), plt.gca()
    assert line == points == ([10, 30, 35, 42], [1, 2, 6, 10])
    assert ax.get_xlabel() == "environment steps"
    assert ax.get_ylabel() == "return (line: mean of 1 episodes)"


def test_too_few_episodes_for_an_average_have_no_line(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1), (2, 20, 0.2)])
    line, points = drawn(plot_learning_curve(log))
    assert line == ([], [])
    assert points == ([10, 30], [1, 2])


def test_several_environments_are_one_run_in_order_of_time(tmp_path: Path) -> None:
    write_log(tmp_path / "[1]" / "0.monitor.csv", [(1, 10, 0.5), (2, 10, 1.5)], t_start=100)
    write_log(tmp_path / "[1]" / "1.monitor.csv", [(3, 20, 0.1), (4, 20, 0.9)], t_start=101)
    _, points = drawn(plot_learning_curve(tmp_path / "[1]"))
    assert points == ([10, 30, 40, 60], [1, 3, 2, 4])
    _, points = drawn(plot_learning_curve(tmp_path / "[1]" / "1.monitor.csv"))
    assert points == ([20, 40], [3, 4])


def test_an_appended_log_keeps_its_order(tmp_path: Path) -> None:
    """Monitor's clock restarts when it appends to a file."""
    for t_start, first in ((100.0, 1), (100.5, 10)):
        rows = [(first, 10, 2.0), (first + 1, 10, 4.0), (first + 2, 10, 1.0), (first + 3, 10, 3.0)]
        write_log(tmp_path / f"{first}.monitor.csv", rows, t_start)
    _, points = drawn(plot_learning_curve(tmp_path))
    assert points[1] == [1, 10, 2, 11, 3, 12, 4, 13]
    _, points = drawn(plot_learning_curve(tmp_path / "1.monitor.csv"))
    assert points[1] == [1, 2, 3, 4]


@pytest.mark.parametrize("n_envs", [1, 3])
def test_episodes_are_those_that_sb3_reads(n_envs: int, tmp_path: Path) -> None:
    monitored(tmp_path, n_envs)
    _, points = drawn(plot_learning_curve(tmp_path / "logs"))
    steps, returns = ts2xy(load_results(str(tmp_path / "logs")), X_TIMESTEPS)
    assert len(returns) > 10
    assert points == (steps.tolist(), returns.tolist())


def test_logs_of_vec_monitor_are_drawn(tmp_path: Path) -> None:
    env = VecMonitor(DummyVecEnv([lambda: CountingEnv(4)] * 2), str(tmp_path / "log"))
    TDA2C("MlpPolicy", env, device="cpu").learn(16)
    env.close()
    _, points = drawn(plot_learning_curve(tmp_path / "log.monitor.csv"))
    assert points[0] == [4, 8, 12, 16]


def test_a_model_draws_its_last_episodes(tmp_path: Path) -> None:
    """They are drawn as if the last one had ended at the model's last step."""
    model = monitored(tmp_path, n_steps=500, stats_window_size=10)
    _, (steps, returns) = drawn(plot_learning_curve(tmp_path / "logs"))
    n_unfinished = model.num_timesteps - steps[-1]
    assert n_unfinished > 0
    model.save(tmp_path / "model")
    for name in ("model", "model.zip"):
        _, points = drawn(plot_learning_curve(tmp_path / name))
        assert points[1] == returns[-10:]
        assert points[0] == [step + n_unfinished for step in steps[-10:]]


def test_runs_have_different_colors_and_labels(tmp_path: Path) -> None:
    monitored(tmp_path).save(tmp_path / "model")
    runs = [tmp_path / "logs", str(tmp_path / "model.zip")]
    ax = plot_learning_curve(*runs, labels=["log", "zip"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["log", "zip"]
    first, of_first, second, of_second = (line.get_color() for line in ax.lines)
    assert first == of_first != second == of_second
    legend = plot_learning_curve(*runs).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [str(run) for run in runs]


def test_axes_are_the_users_or_those_of_a_new_figure(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1)])
    figure = Figure()
    given = figure.subplots()
    assert plot_learning_curve(log, ax=given) is given
    assert plt.get_fignums() == []
    first, second = plot_learning_curve(log), plot_learning_curve(log)
    assert first.figure is not second.figure
    assert plt.get_fignums() == [1, 2]
    assert plt.gca() is second


def test_invalid_arguments_leave_no_figure(tmp_path: Path) -> None:
    good = write_log(tmp_path / "good.monitor.csv", [(1, 10, 0.1)])
    empty = write_log(tmp_path / "empty" / "monitor.csv", [])
    with pytest.raises(ValueError, match=r"empty: the run has no finished episode"):
        plot_learning_curve(good, empty.parent)
    with pytest.raises(ValueError, match="runs: expected at least one"):
        plot_learning_curve()
    with pytest.raises(ValueError, match=r"labels=\['a', 'b'\]: expected one label for each of the 1 runs"):
        plot_learning_curve(good, labels=["a", "b"])
    with pytest.raises(ValueError, match="smoothing must be an integer of at least 1, got 0"):
        plot_learning_curve(good, smoothing=0)
    assert plt.get_fignums() == []


def test_missing_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        plot_learning_curve(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        plot_learning_curve(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match=r"no file in this folder ends in monitor\.csv; pass monitor_dir"):
        plot_learning_curve(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "time/fps,rollout/ep_rew_mean\n1,2\n",
        '#{"t_start": 1.0}\nr,l\n1,2\n',
        '#{"t_start": 1.0}\nr,l,t\n1,2,nine\n',
        '#{"env_id": "None"}\nr,l,t\n1,2,3\n',
        "#[1]\nr,l,t\n1,2,3\n",
        "",
    ],
)
def test_files_that_are_not_monitor_logs_are_errors(content: str, tmp_path: Path) -> None:
    file = tmp_path / "progress.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"progress\.csv is not a Monitor log, or it is damaged"):
        plot_learning_curve(file)


def test_zips_without_episodes_are_errors(tmp_path: Path) -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", device="cpu")
    model.save(tmp_path / "new")
    with pytest.raises(ValueError, match=r"new: the run has no finished episode; train for longer"):
        plot_learning_curve(tmp_path / "new")
    model.learn(200).save(tmp_path / "without", exclude=["ep_info_buffer"])
    with pytest.raises(ValueError, match="without does not hold Monitor's episode statistics"):
        plot_learning_curve(tmp_path / "without")
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "a2c")
    with pytest.raises(UnreadableCheckpointError, match="another algorithm than TDA2C"):
        plot_learning_curve(tmp_path / "a2c")


def test_zips_run_no_code(tmp_path: Path) -> None:
    """Code among the episodes is an error; code elsewhere in the zip is not looked at."""
    monitored(tmp_path).save(tmp_path / "model")
    payload = PAYLOADS["a call"](str(tmp_path / "ran"))
    archive = (tmp_path / "model.zip").read_bytes()
    (tmp_path / "elsewhere.zip").write_bytes(with_pickle(archive, "policy_class", payload))
    (tmp_path / "episodes.zip").write_bytes(with_pickle(archive, "ep_info_buffer", payload))
    expected = drawn(plot_learning_curve(tmp_path / "model"))
    assert drawn(plot_learning_curve(tmp_path / "elsewhere.zip")) == expected
    with pytest.raises(UntrustedCheckpointError, match="ep_info_buffer"):
        plot_learning_curve(tmp_path / "episodes.zip")
    assert not (tmp_path / "ran").exists()


def test_mean_curves_average_over_runs(tmp_path: Path) -> None:
    """They span from the first step, or second, that all runs have to the last one."""
    one = write_log(tmp_path / "one.monitor.csv", [(0, 10, 1.0), (10, 10, 2.0), (20, 20, 4.0)])
    other = write_log(tmp_path / "other.monitor.csv", [(10, 20, 1.0), (30, 40, 3.0)], t_start=200.0)
    for over, first, last, means in (("steps", 20, 40, (10.0, 20.0)), ("seconds", 1.0, 3.0, (5.0, 22.5))):
        ax = plot_mean_curves({"both": [one, other]}, over=over, smoothing=1, ax=Figure().subplots())
        ((steps, returns),) = drawn(ax)
        assert (steps[0], steps[-1]) == (first, last)
        assert (returns[0], returns[-1]) == means
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 30)
    ((_, smooth),) = drawn(plot_mean_curves({"one": [one]}, smoothing=2, ax=Figure().subplots()))
    assert (smooth[0], smooth[-1]) == (0, 15)


def test_episodes_of_several_environments_may_end_together(tmp_path: Path) -> None:
    """The logs start at different moments, so a later end may have a smaller time in its log."""
    write_log(tmp_path / "0.monitor.csv", [(0, 10, 1.0), (0, 10, 2.0)], t_start=100.0)
    write_log(tmp_path / "1.monitor.csv", [(30, 10, 0.8), (30, 10, 1.8)], t_start=100.5)
    ((seconds, _),) = drawn(plot_mean_curves({"one": [tmp_path]}, over="seconds", ax=Figure().subplots()))
    assert (seconds[0], seconds[-1]) == pytest.approx((1.0, 2.3))


def test_runs_without_common_steps_are_drawn_one_by_one(tmp_path: Path) -> None:
    one = write_log(tmp_path / "one.monitor.csv", [(10, 500, 1.0)])
    other = write_log(tmp_path / "other.monitor.csv", [(10, 10, 1.0), (30, 20, 3.0)])
    ax = plot_mean_curves({"both": [one, other]}, smoothing=1, ax=Figure().subplots())
    assert [(list(steps), list(returns)) for steps, returns in drawn(ax)] == [([500], [10]), ([10, 30], [10, 30])]


def test_continued_trainings_have_no_curve_over_seconds(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(0, 10, 1.0), (10, 10, 2.0), (20, 20, 0.5)])
    with pytest.raises(ValueError, match=r"monitor.csv: .*continued.*over='steps'"):
        plot_mean_curves({"one": [log]}, over="seconds", ax=Figure().subplots())
    plot_mean_curves({"one": [log]}, ax=Figure().subplots())


def test_runs_without_episodes_have_no_mean_curve(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [])
    with pytest.raises(ValueError, match=r"monitor.csv: .*no finished episode"):
        plot_mean_curves({"one": [log]}, ax=Figure().subplots())
