"""``watch``: show a saved model in its environment, or record it."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sb3_a2c_td.cli.options import Count, Device, EnvKwargs, NoNormalize, Normalize, Seed, Trusted, Tuned, Zip


def watch(
    path: Zip,
    *,
    record: Path | None = None,
    env: str | None = None,
    env_kwargs: EnvKwargs = None,
    tuned: Tuned = False,
    episodes: Count = 1,
    deterministic: Annotated[bool, Parameter(negative="--stochastic")] = True,
    normalize: Normalize = None,
    no_normalize: NoNormalize = False,
    seed: Seed = None,
    device: Device = "auto",
    trusted: Trusted = False,
) -> None:
    """Show a saved model in a window, or record it as a GIF or a video.

    Examples:

    ```
    sb3-a2c-td watch tda2c_CartPole-v1
    sb3-a2c-td watch tda2c_LunarLander-v3 --record lander.gif
    ```

    :param record: a file to write in place of a window: .gif, or .mp4 (with moviepy)
    :param env: the environment's id; if none is named, the one that the zip records
    :param env_kwargs: the environment's arguments, in YAML or JSON; if none are given, the recorded ones
    :param episodes: episodes to show
    :param deterministic: take the most likely actions, or sample them
    """
    from sb3_a2c_td.cli import models, outputs, usage_errors, watching

    with usage_errors.reported():
        if record is not None:
            if record.suffix.lower() not in watching.SUFFIXES:
                raise ValueError(f"--record {record}: end the name with {' or '.join(watching.SUFFIXES)}")
            outputs.writable_folder(record.parent, "--record")
        render_mode = "human" if record is None else watching.picture_mode()
        vec_env = models.make_recorded_env(path, env, env_kwargs, trusted, tuned, render_mode)
        watching.check_shown(vec_env, render_mode)
        model, vec_env = models.load_with_env(path, vec_env, device, normalize, no_normalize, trusted)
    models.seed_episodes(vec_env, seed)
    pictures = [each for each in watching.frames(model, vec_env, episodes, deterministic) if each is not None]
    if record is not None:
        with usage_errors.reported():
            watching.write(pictures, record, watching.fps_of(vec_env))
        print(f"Saved to {record}")
    vec_env.close()
