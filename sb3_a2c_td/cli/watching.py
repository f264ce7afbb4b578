"""What ``watch`` runs: episodes of a saved model, in a window or into a file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import MaskableTDA2C

SUFFIXES = (".gif", ".mp4")
DEFAULT_FPS = 30
MIN_HEIGHT = 160
"""of pictures, in pixels"""


def picture_mode() -> str:
    """Return the render mode of pictures, and let pygame draw them where there is no screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    return "rgb_array"


def check_shown(env: VecEnv, render_mode: str) -> None:
    """Check that an environment can be shown.

    :param env: the environment
    :param render_mode: how
    :raises ValueError: if it has no such render mode
    """
    modes = env.get_attr("metadata")[0].get("render_modes")
    # Gymnasium lets environments draw that say nothing
    if modes is not None and render_mode not in modes:
        raise ValueError(
            f"the environment cannot be shown: it has no render mode {render_mode!r}, only {list(modes)}. In your own, "
            'add it to metadata["render_modes"], and draw in render()'
        )


def frames(model: BaseAlgorithm, env: VecEnv, n_episodes: int, deterministic: bool) -> Iterator[np.ndarray | None]:
    """Run episodes; yield the picture of each step, or ``None`` for a window.

    Each episode's return is printed when it ends.

    :param model: the model
    :param env: one environment
    :param n_episodes: how many episodes
    :param deterministic: whether to take the most likely actions
    """
    observations, state = env.reset(), None
    starts = np.ones(1, dtype=bool)
    n_ended = 0
    while n_ended < n_episodes:
        yield env.render()
        masks: dict[str, Any] = {}
        if isinstance(model, MaskableTDA2C):
            masks["action_masks"] = get_action_masks(env)
        actions, state = model.predict(observations, state, starts, deterministic, **masks)  # type: ignore[arg-type]
        observations, _, starts, infos = env.step(actions)
        if starts[0]:
            n_ended += 1
            episode = infos[0]["episode"]
            print(f"Episode {n_ended}: return {episode['r']:.1f}, {episode['l']} steps")


def write(pictures: list[np.ndarray], path: Path, fps: int) -> None:
    """Write pictures as a GIF or a video.

    :param pictures: RGB pictures, uint8 ``(height, width, 3)``
    :param path: the file, whose suffix is the format
    :param fps: pictures a second
    :raises ValueError: if it is a video, and moviepy is not installed
    """
    pictures = [_as_pixels(picture) for picture in pictures]
    if path.suffix.lower() == ".gif":
        first, *others = [Image.fromarray(picture) for picture in pictures]
        first.save(path, save_all=True, append_images=others, duration=round(1000 / fps), loop=0)
        return
    try:
        from moviepy import ImageSequenceClip
    except ImportError as error:
        raise ValueError(f"--record {path} needs a package: pip install moviepy. GIFs need none") from error
    ImageSequenceClip(pictures, fps=fps).write_videofile(str(path), logger=None)


def _as_pixels(picture: np.ndarray) -> np.ndarray:
    """Return a picture as bytes, and a tiny one, such as MinAtar's, enlarged."""
    if np.issubdtype(picture.dtype, np.floating):
        picture = (255 * picture).astype(np.uint8)
    times = max(1, MIN_HEIGHT // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def fps_of(env: VecEnv) -> int:
    """Return how many pictures a second the environment asks for.

    :param env: the environment
    """
    return int(env.get_attr("metadata")[0].get("render_fps") or DEFAULT_FPS)
