"""``watch``: in a window that no screen shows, and into files."""

from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec
from PIL import Image

from sb3_a2c_td import TDA2C
from tests.cli.running import run


class InvisibleEnv(CartPoleEnv):
    metadata: ClassVar = {"render_modes": []}


@pytest.fixture(autouse=True)
def _a_model_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save("model")


def test_a_window_shows_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    n_shown = 0
    flip = pygame.display.flip

    def count() -> None:
        nonlocal n_shown
        n_shown += 1
        flip()

    monkeypatch.setattr("pygame.display.flip", count)
    done = run("watch model --seed 1")
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    assert n_shown >= int(line.split()[-2])
    assert not pygame.display.get_init()


def test_each_step_is_a_picture() -> None:
    done = run("watch model --record episodes.GIF --episodes 2 --seed 1")
    assert done.exit_code == 0, done.output
    first, second, saved = done.stdout.splitlines()
    n_steps = sum(int(line.split()[-2]) for line in (first, second))
    with Image.open("episodes.GIF") as picture:
        # pictures that are equal are stored once
        assert n_steps / 2 < picture.n_frames <= n_steps
        assert picture.size == (600, 400)
    assert saved == "Saved to episodes.GIF"


@pytest.mark.filterwarnings("ignore:.*render_fps", "ignore:.*RGB-array rendering")
def test_tiny_pictures_of_floats_are_enlarged() -> None:
    pytest.importorskip("minatar")
    arguments = "--env MinAtar/Breakout-v1 --tuned"
    assert run(f"train {arguments} --timesteps 10 --eval-episodes 0 --quiet --save breakout").exit_code == 0
    done = run(f"watch breakout {arguments} --record breakout.gif")
    assert done.exit_code == 0, done.output
    with Image.open("breakout.gif") as picture:
        assert picture.size == (160, 160)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("model --record picture.png", "--record picture.png: end the name with .gif or .mp4"),
        ("model --record model.zip/picture.gif", "--record model.zip: this folder cannot be written to"),
        ("model --env MountainCar-v0 --record car.gif", "Observation spaces do not match"),
    ],
)
def test_usage_errors_end_with_a_message(arguments: str, message: str) -> None:
    done = run(f"watch {arguments}")
    assert done.exit_code == 2
    assert message in done.stderr
    assert [path.name for path in Path().iterdir()] == ["model.zip"]


@pytest.mark.filterwarnings("ignore:.*is not in the possible render_modes")
@pytest.mark.parametrize(("arguments", "mode"), [("", "human"), ("--record picture.gif", "rgb_array")])
def test_an_environment_without_pictures_is_a_usage_error(
    arguments: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gym.registry, "Invisible-v0", EnvSpec("Invisible-v0", InvisibleEnv))
    done = run(f"watch model --env Invisible-v0 {arguments}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"it has no render mode '{mode}'" in done.stderr
