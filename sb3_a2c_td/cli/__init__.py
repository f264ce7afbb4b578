"""The command line: ``python -m sb3_a2c_td`` and ``sb3-a2c-td``."""

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sb3_a2c_td.cli import compare, evaluate, export, inspect, train
from sb3_a2c_td.version import __version__

VERSION = "--version"


class TrainByDefault(TyperGroup):
    """A group of commands that runs ``train`` if no command is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert ``train`` if the arguments begin with one of its options, or if there are none.

        :param ctx: the context of the call
        :param args: the arguments of the process
        :return: the remaining arguments, for the command
        """
        group_options = {*self.get_help_option_names(ctx), VERSION}
        names_no_command = not args or (args[0].startswith("-") and args[0] not in group_options)
        return super().parse_args(ctx, ["train", *args] if names_no_command else args)


app = typer.Typer(cls=TrainByDefault, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(inspect.inspect)
app.command()(export.export)


def print_version(wanted: bool) -> None:
    """Print the package's version and exit, if the option was given.

    :param wanted: whether it was given
    :raises typer.Exit: after printing
    """
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option(VERSION, callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """TDA2C, an advantage actor-critic on one-step TD targets, from the command line.

    Without a command, train runs: `--env CartPole-v1` means `train --env CartPole-v1`. Each command has its own
    `--help`.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # as for standard error: results that cannot be encoded must not end a command
        sys.stdout.reconfigure(errors="backslashreplace")
