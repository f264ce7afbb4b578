import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_arm_is_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.throughput", "--n-envs", "2", "--rounds", "1", "--seconds", "0.1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    rows = re.findall(r"^\| (.+) \| ([\d,]+) \| ([\d.]+) \|$", done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == [
        "A2C",
        'TDA2C, engine="auto"',
        'TDA2C, engine="torch"',
        'TDA2C, engine="numba"',
        "the environment alone",
    ]
    assert rows[0][2] == "1.0"
