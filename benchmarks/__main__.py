"""``python -m benchmarks``: how well and how fast TDA2C learns beside SB3's A2C, and what it costs."""

import typer

from benchmarks.learning import commands as learning
from benchmarks.speed import commands as speed

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(learning.app)
app.add_typer(speed.app)

if __name__ == "__main__":
    app()
