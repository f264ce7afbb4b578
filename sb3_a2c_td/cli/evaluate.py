"""``evaluate``: the mean return of a saved model."""

import re
from pathlib import Path
from typing import Annotated

import typer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from sb3_a2c_td import TDA2C, UntrustedCheckpointError
from sb3_a2c_td.cli import mistakes
from sb3_a2c_td.exporting import read_normalization


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="ZIP", exists=True, dir_okay=False, help="The saved model.")],
    env: Annotated[str, typer.Option(help="The environment's name; the zip does not say it.", show_default=False)],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to run.")] = 20,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--stochastic", help="The likeliest actions, or drawn ones.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Seed of the environment and of the actions.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Load what could run code, too: only for files that you made.")
    ] = False,
) -> None:
    """Print mean and standard deviation of a saved model's returns.

    Observations are normalised where SB3 or RL Zoo saved the statistics of VecNormalize beside the zip.

    \b
    Examples:
      sb3-a2c-td evaluate tda2c_CartPole-v1.zip --env CartPole-v1
      sb3-a2c-td evaluate models/pendulum.zip --env Pendulum-v1 --episodes 100 --stochastic --seed 1
    """
    with mistakes.explained():
        vec_env = _normalized(make_vec_env(env), _statistics_beside(path, env))
        model = load(path, vec_env, device, trusted)
    # loading seeds it as it was seeded for training
    vec_env.seed(seed)
    if seed is not None:
        set_random_seed(seed)
    mean, std = evaluate_policy(model, vec_env, n_eval_episodes=episodes, deterministic=deterministic)
    actions = "deterministic" if deterministic else "stochastic"
    print(f"Mean return of {episodes} {actions} evaluation episodes: {mean:.2f} ± {std:.2f}")


def load(path: Path, env: VecEnv | None, device: str, trusted: bool) -> TDA2C:
    """Load a model, and name the option where it is not trusted.

    :param path: the zip
    :param env: environments for it
    :param device: where to put it
    :param trusted: whether what could run code is loaded too
    """
    try:
        return TDA2C.load(path, env, device, trusted=trusted)
    except UntrustedCheckpointError as error:
        raise ValueError(f"{error}, here --trusted") from error


def _statistics_beside(path: Path, env_id: str) -> Path | None:
    """Find the statistics of VecNormalize where SB3's examples, its CheckpointCallback or RL Zoo save them."""
    of_checkpoint = re.sub(r"_(?=[0-9]+_steps$)", "_vecnormalize_", path.stem)
    names = ["vec_normalize.pkl", "vecnormalize.pkl", f"{env_id}/vecnormalize.pkl"]
    if of_checkpoint != path.stem:
        names.insert(0, f"{of_checkpoint}.pkl")
    return next((file for name in names if (file := path.parent / name).exists()), None)


def _normalized(env: VecEnv, statistics: Path | None) -> VecEnv:
    if statistics is None:
        return env
    normalized = read_normalization(statistics).around(env)
    print(f"Observations are normalised by {statistics}")
    return normalized
