import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from stable_baselines3 import A2C

from sb3_a2c_td import TDA2C

ROOT = Path(__file__).parents[2]


def test_the_demo_trains_both_and_shows_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.demo", "--timesteps", "1000", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d,]+) \| ([\d,]+) \|$", done.stdout, re.MULTILINE)
    assert [(row[0], row[2]) for row in rows] == [("TDA2C", "1,000"), ("A2C", "1,000")]
    for arm, algorithm in (("tda2c", TDA2C), ("a2c", A2C)):
        model = algorithm.load(tmp_path / "out" / f"{arm}.zip", device="cpu")
        assert model.num_timesteps == 1000
        assert model.predict(np.zeros(4, np.float32))[0] in (0, 1)
    assert (tmp_path / "out" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
