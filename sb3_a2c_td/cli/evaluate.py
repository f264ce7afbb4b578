"""``evaluate``: print the mean return of a saved model."""

from typing import Annotated

import typer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.cli.models import (
    N_EVAL_EPISODES,
    NoNormalize,
    Normalize,
    Seed,
    Trusted,
    Zip,
    available_device,
    detach_normalization,
    load,
)


def evaluate(
    path: Zip,
    env: Annotated[str, typer.Option(help="The environment's name, which the zip does not hold.", show_default=False)],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to run.")] = N_EVAL_EPISODES,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--stochastic", help="Take the most likely actions, or sample them.")
    ] = True,
    normalize: Normalize = None,
    no_normalize: NoNormalize = False,
    seed: Seed = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    trusted: Trusted = False,
) -> None:
    """Print the mean and standard deviation of a saved model's returns.

    Observations are normalized by the statistics in the zip, if the model was trained on normalized ones. Zips that do
    not say how they were trained take the statistics of VecNormalize that SB3 or RL Zoo saved next to them. --normalize
    names another file, --no-normalize turns this off.

    \b
    Examples:
      sb3-a2c-td evaluate tda2c_CartPole-v1.zip --env CartPole-v1
      sb3-a2c-td evaluate models/pendulum.zip --env Pendulum-v1 --episodes 100 --stochastic --seed 1
    """
    with usage_errors.reported():
        vec_env = make_vec_env(env)
        model = load(path, vec_env, available_device(device), trusted)
        normalization = detach_normalization(model, path, normalize, no_normalize, trusted)
        if normalization is not None:
            vec_env = normalization.around(vec_env)
    # load() has seeded the environment with the seed of the training
    vec_env.seed(seed)
    if seed is not None:
        set_random_seed(seed)
    mean, std = evaluate_policy(model, vec_env, n_eval_episodes=episodes, deterministic=deterministic)
    actions = "deterministic" if deterministic else "stochastic"
    print(f"Mean return of {episodes} {actions} evaluation episodes: {mean:.2f} +/- {std:.2f}")
