"""``python -m benchmarks``: compare how well and how fast TDA2C and SB3's A2C learn, and what they cost."""

import typer

from benchmarks.learning import commands as learning
from benchmarks.speed import commands as speed

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(learning.app)
app.add_typer(speed.app)

if __name__ == "__main__":
    app()
