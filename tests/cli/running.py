"""Runs the command line in this process."""

import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

from sb3_a2c_td.cli import main


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str
    exception: BaseException | None = None
    """an error that is none of usage"""

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def run(command_line: str | Sequence[str], encoding: str = "utf-8") -> Done:
    """Run a command line; standard output has the encoding."""
    out, err = (TextIOWrapper(BytesIO(), encoding=each, write_through=True) for each in (encoding, "utf-8"))
    code: int | str | None = 0
    exception = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(shlex.split(command_line) if isinstance(command_line, str) else command_line)
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            code, exception = 1, error
    printed, reported = (
        stream.detach().getvalue().decode(each)  # type: ignore[attr-defined]
        for stream, each in ((out, encoding), (err, "utf-8"))
    )
    return Done(int(code or 0), printed, reported, exception)
