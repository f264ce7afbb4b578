"""Learning curves: the numbers that are drawn, and what cannot be drawn."""

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
from sb3_a2c_td.plotting.learning_curves import plot_learning_curve
from tests.environments import CountingEnv
from tests.saving.pickles import PAYLOADS, with_pickle


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def write_log(file: Path, rows: list[tuple[float, int, float]], t_start: float = 100.0) -> Path:
    """Write what Monitor would: return, length and time of each episode."""
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


def test_points_are_episodes_and_the_line_is_their_mean(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1), (2, 20, 0.2), (6, 5, 0.3), (10, 7, 0.4)])
    line, points = drawn(plot_learning_curve(log, smoothing=3))
    assert points == ([10, 30, 35, 42], [1, 2, 6, 10])
    assert line == ([35, 42], [3, 6])
    (line, points), ax = drawn(plot_learning_curve(log, smoothing=1)), plt.gca()
    assert line == points == ([10, 30, 35, 42], [1, 2, 6, 10])
    assert ax.get_xlabel() == "environment steps"
    assert ax.get_ylabel() == "return (line: mean of 1 episodes)"


def test_fewer_episodes_than_a_mean_needs_have_no_line(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1), (2, 20, 0.2)])
    line, points = drawn(plot_learning_curve(log))
    assert line == ([], [])
    assert points == ([10, 30], [1, 2])


def test_several_environments_are_one_run_in_the_order_of_time(tmp_path: Path) -> None:
    write_log(tmp_path / "[1]" / "0.monitor.csv", [(1, 10, 0.5), (2, 10, 1.5)], t_start=100)
    write_log(tmp_path / "[1]" / "1.monitor.csv", [(3, 20, 0.1), (4, 20, 0.9)], t_start=101)
    _, points = drawn(plot_learning_curve(tmp_path / "[1]"))
    assert points == ([10, 30, 40, 60], [1, 3, 2, 4])
    _, points = drawn(plot_learning_curve(tmp_path / "[1]" / "1.monitor.csv"))
    assert points == ([20, 40], [3, 4])


def test_a_log_that_was_appended_to_keeps_its_order(tmp_path: Path) -> None:
    """Monitor's clock begins anew where it goes on with a file."""
    for t_start, first in ((100.0, 1), (100.5, 10)):
        rows = [(first, 10, 2.0), (first + 1, 10, 4.0), (first + 2, 10, 1.0), (first + 3, 10, 3.0)]
        write_log(tmp_path / f"{first}.monitor.csv", rows, t_start)
    _, points = drawn(plot_learning_curve(tmp_path))
    assert points[1] == [1, 10, 2, 11, 3, 12, 4, 13]
    _, points = drawn(plot_learning_curve(tmp_path / "1.monitor.csv"))
    assert points[1] == [1, 2, 3, 4]


@pytest.mark.parametrize("n_envs", [1, 3])
def test_what_sb3_reads_in_real_logs(n_envs: int, tmp_path: Path) -> None:
    monitored(tmp_path, n_envs)
    _, points = drawn(plot_learning_curve(tmp_path / "logs"))
    steps, returns = ts2xy(load_results(str(tmp_path / "logs")), X_TIMESTEPS)
    assert len(returns) > 10
    assert points == (steps.tolist(), returns.tolist())


def test_the_log_of_a_vec_monitor(tmp_path: Path) -> None:
    env = VecMonitor(DummyVecEnv([lambda: CountingEnv(4)] * 2), str(tmp_path / "log"))
    TDA2C("MlpPolicy", env, device="cpu").learn(16)
    env.close()
    _, points = drawn(plot_learning_curve(tmp_path / "log.monitor.csv"))
    assert points[0] == [4, 8, 12, 16]


def test_a_model_holds_its_last_episodes(tmp_path: Path) -> None:
    """Where the last one ended with the last step, they stand where Monitor's log has them."""
    model = monitored(tmp_path, n_steps=500, stats_window_size=10)
    _, (steps, returns) = drawn(plot_learning_curve(tmp_path / "logs"))
    n_unfinished = model.num_timesteps - steps[-1]
    assert n_unfinished > 0
    model.save(tmp_path / "model")
    for name in ("model", "model.zip"):
        _, points = drawn(plot_learning_curve(tmp_path / name))
        assert points[1] == returns[-10:]
        assert points[0] == [step + n_unfinished for step in steps[-10:]]


def test_runs_have_a_colour_each_and_the_labels_of_the_legend(tmp_path: Path) -> None:
    monitored(tmp_path).save(tmp_path / "model")
    runs = [tmp_path / "logs", str(tmp_path / "model.zip")]
    ax = plot_learning_curve(*runs, labels=["log", "zip"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["log", "zip"]
    first, of_first, second, of_second = (line.get_color() for line in ax.lines)
    assert first == of_first != second == of_second
    legend = plot_learning_curve(*runs).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [str(run) for run in runs]


def test_the_axes_are_the_users_or_a_new_figures(tmp_path: Path) -> None:
    log = write_log(tmp_path / "monitor.csv", [(1, 10, 0.1)])
    figure = Figure()
    given = figure.subplots()
    assert plot_learning_curve(log, ax=given) is given
    assert plt.get_fignums() == []
    first, second = plot_learning_curve(log), plot_learning_curve(log)
    assert first.figure is not second.figure
    assert plt.get_fignums() == [1, 2]
    assert plt.gca() is second


def test_what_cannot_be_drawn_leaves_no_figure(tmp_path: Path) -> None:
    good = write_log(tmp_path / "good.monitor.csv", [(1, 10, 0.1)])
    empty = write_log(tmp_path / "empty" / "monitor.csv", [])
    with pytest.raises(ValueError, match=r"empty: no episode was finished in it"):
        plot_learning_curve(good, empty.parent)
    with pytest.raises(ValueError, match="runs: none given"):
        plot_learning_curve()
    with pytest.raises(ValueError, match=r"labels=\['a', 'b'\]: expected one for each of the 1 runs"):
        plot_learning_curve(good, labels=["a", "b"])
    with pytest.raises(ValueError, match="smoothing must be an integer of at least 1, got 0"):
        plot_learning_curve(good, smoothing=0)
    assert plt.get_fignums() == []


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        plot_learning_curve(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        plot_learning_curve(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match=r"no file in it ends in monitor\.csv; give make_vec_env a monitor_dir"):
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
def test_files_that_monitor_did_not_write(content: str, tmp_path: Path) -> None:
    file = tmp_path / "progress.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"progress\.csv: Monitor did not write it, or it is damaged"):
        plot_learning_curve(file)


def test_zips_without_episodes(tmp_path: Path) -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", device="cpu")
    model.save(tmp_path / "new")
    with pytest.raises(ValueError, match=r"new: no episode was finished in it; train for longer"):
        plot_learning_curve(tmp_path / "new")
    model.learn(200).save(tmp_path / "without", exclude=["ep_info_buffer"])
    with pytest.raises(ValueError, match="without: it holds no episodes as Monitor describes them"):
        plot_learning_curve(tmp_path / "without")
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "a2c")
    with pytest.raises(UnreadableCheckpointError, match="another algorithm than TDA2C"):
        plot_learning_curve(tmp_path / "a2c")


def test_no_code_of_a_zip_runs(tmp_path: Path) -> None:
    """Neither among the episodes nor elsewhere, where it does not hinder the drawing."""
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
