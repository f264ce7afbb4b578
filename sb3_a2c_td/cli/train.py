"""``train``: train a model, evaluate it and save it."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.types import ExistingFile

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.cli.options import (
    N_EVAL_EPISODES,
    Algorithm,
    Constructor,
    Count,
    EnvKwargs,
    Episodes,
    Flag,
    Steps,
    given,
    read_config,
)

NOT_WRITTEN = ("config", "constructor", "resume", "save")
"""options that are not in the file next to the zip"""


def options_of_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take the options that the command line lacks from the file that ``--config`` names.

    :param app: the command line
    :param commands: the command
    :param arguments: the options, with the values that the command line gives
    """
    for argument in arguments:
        if argument.name == "--config" and argument.tokens:
            from cyclopts.config import Dict

            path = Path(argument.tokens[0].value)
            with usage_errors.reported():
                options = read_config(path)
            Dict(options, source=str(path), use_commands_as_keys=False)(app, commands, arguments)


def train(
    env: str = "CartPole-v1",
    *,
    timesteps: Steps = 100_000,
    algo: Algorithm = "tda2c",
    policy: str | None = None,
    tuned: Flag = False,
    n_envs: Count | None = None,
    env_kwargs: EnvKwargs = None,
    constructor: Annotated[Constructor | None, Parameter(name="*", group="Settings of TDA2C")] = None,  # type: ignore[valid-type]
    n_seeds: Count = 1,
    save: Path | None = None,
    save_freq: Steps | None = None,
    resume: bool = False,
    eval_freq: Steps | None = None,
    eval_episodes: Episodes = N_EVAL_EPISODES,
    track: Flag = False,
    config: ExistingFile | None = None,
    quiet: Flag = False,
) -> None:
    """Train a model, evaluate it and save it.

    The settings are those of the reference program, unless --tuned or other options change them. Ctrl-C and SIGTERM
    stop training early and save the model. A file next to the zip holds the options; --config takes it to train again.
    Under torchrun, each process has its own environments, and --timesteps counts the steps of all processes.

    Examples:

    ```
    sb3-a2c-td train
    sb3-a2c-td train LunarLander-v3 --tuned --seed 1
    sb3-a2c-td train Acrobot-v1 --gamma 0.99 --update-interval 5 --actor-lr 0.0005 --critic-lr 0.001
    sb3-a2c-td train Pendulum-v1 --n-envs 4 --timesteps 2e5 --save models/pendulum
    torchrun --nproc-per-node 2 -m sb3_a2c_td train CartPole-v1 --n-envs 8 --save cartpole
    ```

    :param env: the environment's id; module:id imports a module first
    :param timesteps: environment steps to train for
    :param algo: the algorithm; the others are for environments with action masks, and with LSTMs
    :param policy: the policy; if none is named, one that fits the observations
    :param tuned: use the settings that a study chose, for the environment or for all, as recommended() does in Python
    :param n_envs: number of parallel environments; if none is given, 1, or the number that --tuned chooses
    :param env_kwargs: the environment's arguments, in YAML or JSON, such as '{continuous: true}'
    :param n_seeds: number of trainings, one after another, with consecutive seeds
    :param save: the zip to write; an existing one is replaced. If none is named, a new file in this folder
    :param save_freq: steps between two saves during training
    :param resume: continue the training that --save names, if the zip exists
    :param eval_freq: steps between two evaluations during training, of which the best model is kept
    :param eval_episodes: episodes of each evaluation; 0: no evaluation
    :param track: log to Weights & Biases
    :param config: take options from a file, in YAML or TOML
    :param quiet: print neither a progress bar nor the episodes
    """
    options = {name: value for name, value in locals().items() if name not in NOT_WRITTEN and value is not None}
    arguments = given(constructor)

    from sb3_a2c_td.cli.training import Training, run

    run(
        Training(
            env_id=env,
            env_kwargs=env_kwargs or {},
            timesteps=timesteps,
            algorithm=algo,
            policy=policy,
            is_tuned=tuned,
            arguments=arguments,
            n_envs=n_envs,
            n_seeds=n_seeds,
            save=save,
            save_freq=save_freq,
            resumes=resume,
            eval_freq=eval_freq,
            n_eval_episodes=eval_episodes,
            is_tracked=track,
            is_quiet=quiet,
            options=options | arguments,
        )
    )
