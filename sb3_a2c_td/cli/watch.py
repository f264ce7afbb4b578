"""``watch``: show a saved model in its environment, or record it."""

from pathlib import Path

from sb3_a2c_td.cli.options import Count, Device, EnvKwargs, NoNormalize, Normalize, Seed, Trusted, Zip


def watch(
    path: Zip,
    *,
    record: Path | None = None,
    env: str | None = None,
    env_kwargs: EnvKwargs = None,
    episodes: Count = 1,
    stochastic: bool = False,
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
    :param env_kwargs: the environment's arguments, in YAML or JSON
    :param episodes: episodes to show
    :param stochastic: sample actions instead of taking the most likely ones
    """
    from sb3_a2c_td.cli import watching

    watching.run()
