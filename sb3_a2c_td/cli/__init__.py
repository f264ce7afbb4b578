"""The command line: ``python -m sb3_a2c_td`` and ``sb3-a2c-td``."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sb3_a2c_td.cli import compare, evaluate, export, inspect, train
from sb3_a2c_td.version import __version__

VERSION = "--version"


class TrainUnlessToldOtherwise(TyperGroup):
    """Commands, of which ``train`` is the one that is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``train`` before options that stand alone.

        :param ctx: the context of the call
        :param args: the arguments of the process
        :return: the arguments that are left for a command
        """
        own = {*self.get_help_option_names(ctx), VERSION}
        names_none = not args or (args[0].startswith("-") and args[0] not in own)
        return super().parse_args(ctx, ["train", *args] if names_none else args)


app = typer.Typer(
    cls=TrainUnlessToldOtherwise, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(inspect.inspect)
app.command()(export.export)


def print_version(wanted: bool) -> None:
    """Print the package's version and end, if that is wanted."""
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

    Options without a command are those of train: `--env CartPole-v1` is `train --env CartPole-v1`. Each command has a
    `--help` of its own.
    """
