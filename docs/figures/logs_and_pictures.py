"""Draw the pictures of docs/logging.md: python docs/figures/logs_and_pictures.py."""

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import torch as th
from moviepy import VideoFileClip
from PIL import Image
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecVideoRecorder

from sb3_a2c_td import TDA2C
from sb3_a2c_td.plotting.learning_curves import plot_learning_curve

FOLDER = Path(__file__).parent
ENV_ID = "CartPole-v1"
SETTINGS = {
    "rewards scaled, time limits are ends": {},
    "rewards not scaled, time limits are no ends": {"reward_scale": 1.0, "bootstrap_on_truncation": True},
}
N_STEPS = 60_000
N_FRAMES = 150
# every second frame of 50 per second; milliseconds per frame
KEPT, DURATION = 2, 40
SIZE = (300, 200)


def trained(logs: Path, **settings: float) -> TDA2C:
    """Train a model in environments that log their episodes to a folder."""
    env = make_vec_env(ENV_ID, n_envs=4, seed=0, monitor_dir=str(logs))
    return TDA2C(
        "MlpPolicy", env, learning_rate=1e-3, critic_learning_rate=3e-3, seed=0, device="cpu", **settings
    ).learn(N_STEPS)


def record(model: TDA2C, folder: Path) -> Path:
    """Record a video of a model, and return its path."""
    env = make_vec_env(ENV_ID, seed=1, env_kwargs={"render_mode": "rgb_array"})
    env = VecVideoRecorder(env, str(folder), lambda step: step == 0, video_length=N_FRAMES, name_prefix="cartpole")
    observations = env.reset()
    for _ in range(N_FRAMES):
        actions, _ = model.predict(observations)
        observations, _, _, _ = env.step(actions)
    env.close()
    return folder / f"cartpole-step-0-to-step-{N_FRAMES}.mp4"


def write_gif(video: Path, path: Path) -> None:
    """Convert a video to a small GIF."""
    with VideoFileClip(str(video)) as clip:
        frames = [Image.fromarray(frame).resize(SIZE).quantize(16) for frame in list(clip.iter_frames())[::KEPT]]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=DURATION, loop=0, optimize=True)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    th.set_num_threads(1)
    mpl.use("agg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [folder / str(number) for number in range(len(SETTINGS))]
        models = [trained(run, **settings) for run, settings in zip(runs, SETTINGS.values(), strict=True)]
        ax = plot_learning_curve(*runs, labels=list(SETTINGS))
        ax.set_title(f"TDA2C on four {ENV_ID}, one seed")
        ax.figure.savefig(arguments.folder / "learning_curve.png", dpi=120, metadata={"Software": None})
        write_gif(record(models[-1], folder), arguments.folder / "cartpole.gif")


if __name__ == "__main__":
    main()
