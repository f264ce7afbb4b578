"""``evaluate``: print the mean return of a saved model."""

from typing import Annotated

from cyclopts import Parameter

from sb3_a2c_td.cli.options import (
    N_EVAL_EPISODES,
    Count,
    Device,
    EnvKwargs,
    NoNormalize,
    Normalize,
    Seed,
    Trusted,
    Tuned,
    Zip,
)


def evaluate(
    path: Zip,
    *,
    env: str | None = None,
    env_kwargs: EnvKwargs = None,
    tuned: Tuned = False,
    episodes: Count = N_EVAL_EPISODES,
    deterministic: Annotated[bool, Parameter(negative="--stochastic")] = True,
    normalize: Normalize = None,
    no_normalize: NoNormalize = False,
    seed: Seed = None,
    device: Device = "auto",
    trusted: Trusted = False,
) -> None:
    """Print the mean and standard deviation of a saved model's returns.

    Observations are normalized by the statistics in the zip, if the model was trained on normalized ones. Zips that do
    not say how they were trained take the statistics of VecNormalize that SB3 or RL Zoo saved next to them.

    Examples:

    ```
    sb3-a2c-td evaluate tda2c_CartPole-v1
    sb3-a2c-td evaluate models/pendulum.zip --episodes 100 --stochastic --seed 1
    ```

    :param env: the environment's id; if none is named, the one that the zip records
    :param env_kwargs: the environment's arguments, in YAML or JSON; if none are given, the recorded ones
    :param episodes: episodes to run
    :param deterministic: take the most likely actions, or sample them
    """
    from sb3_a2c_td.cli import models, usage_errors

    with usage_errors.reported():
        vec_env = models.make_recorded_env(path, env, env_kwargs, trusted, tuned)
        model, vec_env = models.load_with_env(path, vec_env, device, normalize, no_normalize, trusted)
    models.seed_episodes(vec_env, seed)
    mean, std = models.evaluate(model, vec_env, episodes, deterministic)
    actions = "deterministic" if deterministic else "stochastic"
    noun = "episode" if episodes == 1 else "episodes"
    print(f"Mean return of {episodes} {actions} evaluation {noun}: {mean:.2f} +/- {std:.2f}")
