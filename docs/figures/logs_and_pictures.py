"""Draw the pictures of trained models: python docs/figures/logs_and_pictures.py."""

import argparse
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch as th
from PIL import Image
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C, recommended, recommended_env
from sb3_a2c_td.cli import watching
from sb3_a2c_td.plotting.learning_curves import plot_learning_curve

FOLDER = Path(__file__).parent
SETTINGS = {"general setting": recommended(), "settings of the reference": {"policy": "MlpPolicy"}}
N_STEPS = 20_000
N_COLOURS = 16
HEIGHT = 200
"""of the pictures, in pixels"""


def train_on_cartpole(logs: Path, settings: dict[str, Any]) -> TDA2C:
    """Train a model in an environment that logs its episodes to a folder."""
    env = make_vec_env("CartPole-v1", seed=0, monitor_dir=str(logs))
    return TDA2C(env=env, seed=0, device="cpu", **settings).learn(N_STEPS)


def train_on_acrobot() -> TDA2C:
    """Train a model with tuned settings."""
    env = recommended_env("Acrobot-v1", seed=0)
    return TDA2C(env=env, seed=0, device="cpu", **recommended("Acrobot-v1")).learn(N_STEPS)


def write_gif(model: TDA2C, env_id: str, path: Path, n_episodes: int, n_frames: int | None = None) -> None:
    """Show episodes of a model in a small GIF."""
    env = make_vec_env(env_id, seed=1, env_kwargs={"render_mode": watching.picture_mode()})
    frames = islice(watching.frames(model, env, n_episodes, deterministic=True), n_frames)
    pictures = [Image.fromarray(frame) for frame in frames if frame is not None]
    size = (round(HEIGHT * pictures[0].width / pictures[0].height), HEIGHT)
    first, *others = [picture.resize(size).quantize(N_COLOURS) for picture in pictures]
    duration = round(1000 / watching.fps_of(env))
    first.save(path, save_all=True, append_images=others, duration=duration, loop=0, optimize=True)


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    th.set_num_threads(1)
    mpl.use("agg")
    with tempfile.TemporaryDirectory() as name:
        runs = [Path(name) / str(number) for number in range(len(SETTINGS))]
        model, _ = [train_on_cartpole(run, settings) for run, settings in zip(runs, SETTINGS.values(), strict=True)]
        ax = plot_learning_curve(*runs, labels=list(SETTINGS))
    ax.set_title("TDA2C on CartPole-v1, one seed")
    ax.figure.savefig(folder / "learning_curve.png", dpi=120, metadata={"Software": None})
    write_gif(model, "CartPole-v1", folder / "cartpole.gif", n_episodes=1, n_frames=150)
    write_gif(train_on_acrobot(), "Acrobot-v1", folder / "agent.gif", n_episodes=4)


if __name__ == "__main__":
    main()
