"""Draw the figures of docs/theory.md: python docs/figures/theory.py [--format svg]."""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch as th
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_a2c_td import TDA2C
from sb3_a2c_td.schedules import PowerLaw, robbins_monro_schedule
from sb3_a2c_td.tabular.diagnostics import TabularDiagnosticsCallback
from sb3_a2c_td.tabular.exact import action_values, objective, optimal_policy, state_values
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk
from sb3_a2c_td.tabular.stochastic_approximation import StepSize, q_learning, td0, trajectories

FOLDER = Path(__file__).parent
N_REPLICAS = 200
# far apart: each environment is seeded with the model's seed plus its index
SEEDS = range(0, 5_000, 1_000)
TD0_STEPS: dict[str, StepSize] = {
    r"$\alpha = 0.1$": PowerLaw(0.1, 1, 0),
    r"$\alpha = 0.02$": PowerLaw(0.02, 1, 0),
    r"$\alpha_n = 10 / (10 + n)$": PowerLaw(10, 10, 1),
    r"$\alpha_n = 1 / (1 + n)$: $a$ too small": PowerLaw(1, 1, 1),
}
Q_LEARNING_STEPS: dict[str, StepSize] = {
    r"$\alpha = 0.1$": PowerLaw(0.1, 1, 0),
    r"$\alpha_n = 8 / (16 + n)^{3/4}$": PowerLaw(8, 16, 0.75),
    r"$\alpha_n = 10 / (10 + n)$": PowerLaw(10, 10, 1),
}


def rms_errors(iterates: Iterator[np.ndarray], exact: np.ndarray, live: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared error over replicas and non-terminal states, at each time."""
    marked = (theta for t, theta in enumerate(islice(iterates, int(times[-1])), start=1) if t in set(times))
    return np.array([np.sqrt(np.mean((theta - exact)[:, live] ** 2)) for theta in marked])


def uniform(mdp: TabularMDP) -> np.ndarray:
    """Return the uniform policy."""
    return np.full(mdp.rewards.shape, 1 / mdp.n_actions)


def draw_td0(axes: Axes) -> None:
    """Draw TD(0) on the random walk with constant and decaying steps."""
    mdp, times = random_walk(), np.unique(np.geomspace(10, 50_000, 60).astype(int))
    values = state_values(mdp, uniform(mdp))
    for label, step_size in TD0_STEPS.items():
        sample = trajectories(mdp, uniform(mdp), N_REPLICAS, np.random.default_rng(0))
        start = np.broadcast_to(0.5 * ~mdp.terminal, (N_REPLICAS, mdp.n_states))
        axes.loglog(times, rms_errors(td0(sample, step_size, start), values, ~mdp.terminal, times), label=label)
    draw_rate(axes, times, 1.2)
    axes.set(title="TD(0), random walk of 5 states", xlabel="steps", ylabel="RMS error of V")
    axes.legend()


def draw_q_learning(axes: Axes) -> None:
    """Draw Q-learning on a Garnet with constant and decaying steps."""
    mdp, times = garnet(10, 3, gamma=0.8), np.unique(np.geomspace(10, 100_000, 60).astype(int))
    optimal = action_values(mdp, optimal_policy(mdp))
    for label, step_size in Q_LEARNING_STEPS.items():
        sample = trajectories(mdp, uniform(mdp), N_REPLICAS, np.random.default_rng(0))
        start = np.zeros((N_REPLICAS, *optimal.shape))
        axes.loglog(times, rms_errors(q_learning(sample, step_size, start), optimal, ~mdp.terminal, times), label=label)
    draw_rate(axes, times, 9.0)
    axes.set(title="Q-learning, Garnet of 10 states, 3 actions", xlabel="steps", ylabel="RMS error of Q")
    axes.legend()


def draw_rate(axes: Axes, times: np.ndarray, factor: float) -> None:
    """Draw the rate of a root mean squared error whose square falls like 1/t."""
    axes.loglog(times[20:], factor / np.sqrt(times[20:]), color="0.6", ls=":", label=r"$\propto t^{-1/2}$")


def trained(
    env_id: str, n_steps: int, n_envs: int, seed: int, env_kwargs: dict[str, Any] | None = None, **kwargs: Any
) -> dict[str, np.ndarray]:
    """Train TDA2C with the callback, and return the columns of its log."""
    env_kwargs = {"observation": "one_hot", **(env_kwargs or {})}
    env = make_vec_env(env_id, n_envs=n_envs, env_kwargs=env_kwargs)
    gamma = env.get_attr("mdp")[0].gamma
    model = TDA2C("MlpPolicy", env, gamma=gamma, bootstrap_on_truncation=True, seed=seed, device="cpu", **kwargs)
    with tempfile.TemporaryDirectory() as folder:
        model.set_logger(configure(folder, ["csv"]))
        model.learn(n_steps, TabularDiagnosticsCallback(log_freq=20))
        model.logger.close()
        with (Path(folder) / "progress.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["tabular/objective"]]
    columns = {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key.startswith("tabular/")}
    return {**columns, "steps": 20 * 5 * n_envs * np.arange(1, len(rows) + 1)}


def draw_runs(axes: Axes, runs: list[dict[str, np.ndarray]], key: str, color: str, label: str) -> None:
    """Draw thin lines for single runs and a bold line for their median."""
    for run in runs:
        axes.plot(run["steps"], run[key], color=color, lw=0.6, alpha=0.4)
    axes.plot(runs[0]["steps"], np.median([run[key] for run in runs], axis=0), color=color, lw=1.8, label=label)


def draw_critic(axes: Axes) -> None:
    """Draw the critic of TDA2C on the random walk with a constant and a decaying learning rate."""
    n_steps = 80_000
    rates = {"0.003": 3e-3, r"$10 / (1000 + t)$": robbins_monro_schedule(10, 1_000, 1.0, n_steps)}
    for color, (label, rate) in zip(("C0", "C2"), rates.items(), strict=True):
        runs = [
            trained("sb3_a2c_td/RandomWalk-v0", n_steps, 16, seed, reward_scale=1.0, critic_learning_rate=rate)
            for seed in SEEDS
        ]
        draw_runs(axes, runs, "tabular/value_rmse", color, f"critic_learning_rate {label}")
    axes.set(title="TDA2C's critic, random walk", xlabel="steps", ylabel="value_rmse", yscale="log")
    axes.legend()


def draw_objective(axes: Axes) -> None:
    """Draw the objective that TDA2C reaches on the chain."""
    runs = [trained("sb3_a2c_td/Chain-v0", 30_000, 8, seed, learning_rate=1e-3) for seed in SEEDS]
    draw_runs(axes, runs, "tabular/objective", "C0", "objective")
    draw_runs(axes, runs, "tabular/value_rmse", "C3", "value_rmse")
    mdp = chain()
    best = objective(mdp, optimal_policy(mdp))
    axes.axhline(best, color="0.6", ls=":", label=f"optimum, {best:.1f}")
    axes.set(title="TDA2C, chain of 5 states", xlabel="steps", ylabel="discounted rewards")
    axes.legend()


def draw_gradient(axes: Axes) -> None:
    """Draw the gradients of TDA2C on a Garnet whose discount is far from 1."""
    env_kwargs = {"n_states": 10, "n_actions": 3, "gamma": 0.8}
    runs = [trained("sb3_a2c_td/Garnet-v0", 60_000, 16, seed, env_kwargs, reward_scale=1.0) for seed in SEEDS]
    draw_runs(axes, runs, "tabular/gradient_cosine_visited", "C1", "gradient_cosine_visited")
    draw_runs(axes, runs, "tabular/gradient_cosine", "C0", "gradient_cosine")
    axes.set(title="TDA2C, Garnet of 10 states, 3 actions", xlabel="steps", ylabel="cosine to the exact gradient")
    axes.legend(loc="lower left")


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", default="svg", help="svg, png, ...")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    th.set_num_threads(1)
    # fixed element names in the file; its numbers may differ between numeric libraries
    mpl.rcParams.update({"svg.hashsalt": "theory", "axes.grid": True, "grid.alpha": 0.3})
    mpl.rcParams.update({"legend.fontsize": "small", "figure.constrained_layout.use": True})

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    draw_td0(left)
    draw_q_learning(right)
    save(figure, arguments.folder, "stochastic_approximation", arguments.format)

    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    draw_critic(axes[0])
    draw_objective(axes[1])
    draw_gradient(axes[2])
    save(figure, arguments.folder, "diagnostics", arguments.format)


def save(figure: plt.Figure, folder: Path, name: str, file_format: str) -> None:
    """Save a figure without the date."""
    metadata = {"Date": None} if file_format == "svg" else None
    figure.savefig(folder / f"{name}.{file_format}", dpi=120, metadata=metadata)


if __name__ == "__main__":
    main()
