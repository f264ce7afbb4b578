"""Models, as commands make and load them."""

import re
from pathlib import Path
from typing import Annotated

import typer
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import TDA2C, UntrustedCheckpointError
from sb3_a2c_td.export import Normalization, read_normalization

N_EVAL_EPISODES = 20

Zip = Annotated[Path, typer.Argument(metavar="ZIP", exists=True, dir_okay=False, help="The saved model.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of all generators.")]
Trusted = Annotated[
    bool, typer.Option("--trusted", help="Load what could run code, too: only for files that you made.")
]
Statistics = Annotated[
    Path | None,
    typer.Option(
        "--normalize",
        metavar="PKL",
        exists=True,
        dir_okay=False,
        help="What VecNormalize.save() wrote.",
        show_default="what lies beside the zip",
    ),
]
AsTheyAre = Annotated[bool, typer.Option("--no-normalize", help="Leave observations as they are.")]


def policy_for(observation_space: spaces.Space[object]) -> str:
    """Name the policy of SB3's that suits observations.

    :param observation_space: their space
    """
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"


def load(path: Path, env: VecEnv | None, device: str, trusted: bool) -> TDA2C:
    """Load a model, and name the option where it is not trusted.

    :param path: the zip
    :param env: environments for it
    :param device: where to put it
    :param trusted: whether what could run code is loaded too
    """
    try:
        return TDA2C.load(path, env, device, trusted=trusted, verbose=0)
    except UntrustedCheckpointError as error:
        raise ValueError(f"{error}, here --trusted") from error


def normalization_of(path: Path, statistics: Path | None, as_they_are: bool) -> Normalization | None:
    """Read how a model's observations were normalised, and say from what.

    :param path: the model's zip
    :param statistics: what ``VecNormalize`` saved; ``None``: look for it beside the zip
    :param as_they_are: whether there is to be none
    :raises ValueError: if both are given
    """
    if as_they_are and statistics is not None:
        raise ValueError(f"--normalize {statistics} and --no-normalize exclude each other: leave one out")
    statistics = statistics or _beside(path)
    if as_they_are or statistics is None:
        return None
    print(f"Observations are normalised by {statistics}")
    return read_normalization(statistics)


def _beside(path: Path) -> Path | None:
    """Find the statistics of VecNormalize where SB3's examples, its CheckpointCallback or RL Zoo save them."""
    of_checkpoint = re.sub(r"_(?=[0-9]+_steps$)", "_vecnormalize_", path.stem)
    names = ["vec_normalize.pkl", "vecnormalize.pkl"]
    if of_checkpoint != path.stem:
        names.insert(0, f"{of_checkpoint}.pkl")
    # RL Zoo keeps them in a folder of the environment's name, together with the settings
    of_zoo = (settings.with_name("vecnormalize.pkl") for settings in path.parent.glob("*/config.yml"))
    return next((file for file in (*map(path.with_name, names), *of_zoo) if file.exists()), None)
