"""The command line: ``python -m sb3_a2c_td`` and ``sb3-a2c-td``.

The modules of the commands hold their options. They import what they run when they run it, since importing PyTorch and
SB3 takes seconds: help appears at once.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from cyclopts import App, Parameter
from rich.console import Console

from sb3_a2c_td.cli import compare, evaluate, export, inspect, train, watch, zoo
from sb3_a2c_td.version import __version__

EXIT_CODE_OF_SIGPIPE = 141
OWN_OPTIONS = ("--help", "-h", "--version", "--install-completion")
"""options without a command that are not those of train"""
app = App(
    name="sb3-a2c-td",
    version=__version__,
    version_flags="--version",
    help="TDA2C, an advantage actor-critic on one-step TD targets, from the command line.\n\n"
    "Each command has its own --help. Options without a command are those of train.",
    # the commands' help has examples, whose rendering takes longer to import
    help_format="plaintext",
    error_formatter=lambda error: f"Error: {error}",
    # a message is one line, as those of the commands themselves
    error_console=Console(stderr=True, soft_wrap=True, markup=False, highlight=False),
    # flags have no --no-FLAG unless they say so
    default_parameter=Parameter(negative_bool=()),
)
app.command(train.train, config=train.options_of_file, help_format="markdown", sort_key=0)
app.command(watch.watch, help_format="markdown")
app.command(evaluate.evaluate, help_format="markdown")
app.command(compare.compare, help_format="markdown")
app.command(inspect.inspect, help_format="markdown")
app.command(export.export, help_format="markdown")
# RL Zoo's scripts have their own help
app.command(zoo.zoo, help_flags=())
app.register_install_completion_command()


def with_command(tokens: Sequence[str]) -> list[str]:
    """Add what a command line leaves out: ``--help`` if it is empty, and ``train`` if it starts with an option.

    :param tokens: the arguments of the command line
    """
    if not tokens:
        return ["--help"]
    if tokens[0].startswith("-") and tokens[0] not in OWN_OPTIONS:
        # as in the reference program
        return ["train", *tokens]
    return list(tokens)


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line.

    :param tokens: the arguments; ``None``: those of the process
    """
    given = with_command(sys.argv[1:] if tokens is None else tokens)
    if isinstance(sys.stdout, TextIOWrapper):
        # as for standard error: results that cannot be encoded must not end a command
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(given)
    except BrokenPipeError:
        # Python would write the rest when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("The program that reads this output has ended, so this one ends, too.", file=sys.stderr)
        sys.exit(EXIT_CODE_OF_SIGPIPE)
