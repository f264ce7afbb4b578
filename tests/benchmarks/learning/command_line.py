"""The benchmark's command line in another process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
TIMEOUT = 120.0
"""seconds; everything takes only a moment on an idle machine"""


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


def run_command(*arguments: str) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command_line(*arguments), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def file_contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return the times and contents of all records in a folder."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*/*/*.json.gz")}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def started(*arguments: str, records: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Start a command; once it has written a record, yield it with its child processes."""
    process = subprocess.Popen(
        command_line(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: file_contents(records) or process.poll() is not None)
        yield process, psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.communicate()
