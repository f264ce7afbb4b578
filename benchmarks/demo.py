"""``python -m benchmarks.demo``: TDA2C and SB3's A2C on CartPole-v1, side by side, each with its defaults.

One seed shows that both run and about how fast; it does not show which is better.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import gymnasium as gym
import joblib
import matplotlib.pyplot as plt
import numpy as np
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import ConvertCallback, EveryNTimesteps
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C

ENV_ID = "CartPole-v1"
ARMS: dict[str, type[TDA2C] | type[A2C]] = {"TDA2C": TDA2C, "A2C": A2C}
N_EVAL_EPISODES = 20
SMOOTHING = 20
"""episodes that a point of the learning curve is the mean of"""


@dataclass(frozen=True)
class Run:
    """What training one arm gave."""

    arm: str
    timesteps: int
    seconds: float
    episode_ends: np.ndarray
    """the step at which each training episode ended, ``(n_episodes,)``"""
    episode_returns: np.ndarray
    """``(n_episodes,)``"""
    mean_return: float
    """of ``N_EVAL_EPISODES`` episodes after training"""


def main() -> None:
    """Train both arms at the same time, one core each, and show them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--timesteps", type=int, default=100_000, help="environment steps for each arm")
    parser.add_argument("--seed", type=int, default=0, help="seed of both arms")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder for the zips and the picture")
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)
    train_arm = joblib.delayed(train)
    runs = joblib.Parallel(n_jobs=len(ARMS))(train_arm(arm, args.timesteps, args.seed, args.output) for arm in ARMS)
    picture = args.output / "learning_curve.png"
    plot(runs, picture)
    print(f"\n{table(runs)}\n\nOne seed ({args.seed}): an example, not a comparison.")
    print(f"Models: {', '.join(str(zip_path(arm, args.output)) for arm in ARMS)}\nLearning curves: {picture}")


def train(arm: str, timesteps: int, seed: int, output: Path) -> Run:
    """Train one arm with its defaults, on one thread, save it and evaluate it."""
    th.set_num_threads(1)
    env = Monitor(gym.make(ENV_ID))
    model = ARMS[arm]("MlpPolicy", env, seed=seed, device="cpu")
    progress = EveryNTimesteps(max(timesteps // 5, 1), ConvertCallback(print_progress))
    start = time.perf_counter()
    model.learn(timesteps, progress)
    seconds = time.perf_counter() - start
    model.save(zip_path(arm, output))
    returns, ends = np.array(env.get_episode_rewards()), np.cumsum(env.get_episode_lengths())
    mean_return, _ = evaluate_policy(model, Monitor(gym.make(ENV_ID)), n_eval_episodes=N_EVAL_EPISODES)
    assert isinstance(mean_return, float)
    return Run(arm, model.num_timesteps, seconds, ends, returns, mean_return)


def print_progress(locals_: dict[str, object], globals_: dict[str, object]) -> bool:
    """Say how far a model is; a callback."""
    model = locals_["self"]
    assert isinstance(model, TDA2C | A2C)
    print(f"{type(model).__name__:>6}: {model.num_timesteps:,} steps", flush=True)
    return True


def zip_path(arm: str, output: Path) -> Path:
    """Name the file that an arm is saved in."""
    return output / f"{arm.lower()}.zip"


def table(runs: list[Run]) -> str:
    """Lay the runs out as a table."""
    header = ["algorithm", f"mean return, {N_EVAL_EPISODES} evaluation episodes", "steps", "steps/s"]
    return markdown_table(
        header,
        [
            [run.arm, f"{run.mean_return:.1f}", f"{run.timesteps:,}", f"{run.timesteps / run.seconds:,.0f}"]
            for run in runs
        ],
    )


def plot(runs: list[Run], path: Path) -> None:
    """Draw the returns of the training episodes over the steps."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for run in runs:
        (line,) = axes.plot(run.episode_ends, run.episode_returns, ".", markersize=2, alpha=0.3)
        if len(run.episode_returns) >= SMOOTHING:
            smoothed = np.convolve(run.episode_returns, np.full(SMOOTHING, 1 / SMOOTHING), mode="valid")
            axes.plot(run.episode_ends[SMOOTHING - 1 :], smoothed, color=line.get_color(), label=run.arm)
    axes.set(
        title=f"{ENV_ID}, default settings, one seed",
        xlabel="environment steps",
        ylabel=f"return (line: mean of {SMOOTHING} episodes)",
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
