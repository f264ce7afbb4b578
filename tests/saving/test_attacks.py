"""Crafted files are refused or do no harm, within limits of time and memory."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of processes as Linux does"),
]


def test_attacks_do_no_harm() -> None:
    # random damage is tried on more examples by test_damage.py
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "default"}
    command = [sys.executable, "-m", "tests.saving.attacks"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 15
    n_files = [int(row[2].replace(",", "")) for row in rows]
    assert min(n_files) >= 5
    assert sum(n_files) > 600
