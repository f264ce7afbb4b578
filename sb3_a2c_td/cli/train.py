"""``train``: train a model, evaluate it and save it."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter

from sb3_a2c_td.cli import usage_errors
from sb3_a2c_td.cli.options import Training, read_config

DEFAULT = Training()


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


def train(training: Annotated[Training, Parameter(name="*")] = DEFAULT) -> None:
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

    :param training: what to train
    """
    from sb3_a2c_td.cli.training import run

    run(training)
