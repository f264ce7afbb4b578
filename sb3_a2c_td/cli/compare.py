"""``compare``: train TDA2C and SB3's A2C on several seeds, and show how they learned."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from sb3_a2c_td.cli.options import Count, EnvKwargs, FirstSeed, Steps

Arm = Literal["general", "tuned", "reference", "a2c", "ppo"]


def _at_least_one(_: Any, arms: tuple[Arm, ...]) -> None:
    if not arms:
        raise ValueError("name at least one")


def compare(
    env: str,
    *,
    env_kwargs: EnvKwargs = None,
    timesteps: Steps = 50_000,
    tuned: bool = False,
    arms: Annotated[tuple[Arm, ...], Parameter(consume_multiple=True, validator=_at_least_one)] = (
        "general",
        "reference",
        "a2c",
    ),
    seeds: Count = 3,
    seed: FirstSeed = 0,
    output: Path | None = None,
) -> None:
    """Train TDA2C and SB3's A2C, and show how they learned.

    TDA2C trains with the general setting and with the settings of the reference program, A2C with its defaults: each on
    several seeds, on one CPU core per training, as many at once as there are cores. The folder receives the models, the
    logs of their training episodes, a picture of their learning curves over steps and over seconds, and an episode of
    the best model as a GIF. Ctrl-C or SIGTERM stops all early; the results are still shown and saved.

    Examples:

    ```
    sb3-a2c-td compare CartPole-v1
    sb3-a2c-td compare Acrobot-v1 --timesteps 2e4 --seeds 5 --tuned --output acrobot
    sb3-a2c-td compare Pendulum-v1 --arms general a2c
    ```

    :param env: the environment's id
    :param env_kwargs: the environment's arguments, in YAML or JSON
    :param timesteps: environment steps of each training
    :param tuned: short for one more arm, TDA2C with the settings tuned for this environment
    :param arms: what to compare: TDA2C with the general, tuned or reference settings, A2C or PPO with its defaults
    :param seeds: trainings of each arm
    :param seed: the first seed
    :param output: folder for models, logs and pictures; existing ones are replaced. If none is named, a new folder
    """
    from sb3_a2c_td.cli.comparing import Comparison, run

    chosen = tuple(dict.fromkeys((*(("tuned",) if tuned else ()), *arms)))
    run(Comparison(env, env_kwargs or {}, timesteps, chosen, range(seed, seed + seeds)), output)
