import json
from pathlib import Path

import pytest
from stable_baselines3 import A2C, DQN

from benchmarks.speed import sb3_algorithms
from tests.benchmarks.speed import rows_of, run


def test_sb3_compares_both_kinds_of_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sb3_algorithms, "ALGORITHMS", {"A2C": A2C, "DQN": DQN})
    monkeypatch.setattr(sb3_algorithms, "N_ENVS", (1, 2))
    rows = rows_of(run("sb3", "--rounds", "1", "--seconds", "0.01", "--output", str(tmp_path)))
    saved = json.loads((tmp_path / "sb3-cpu.json").read_text())["results"]
    assert [row[:2] for row in rows] == [["A2C", "1"], ["A2C", "2"], ["DQN", "1"], ["DQN", "2"]]
    for row, measured in zip(rows, saved, strict=True):
        (speed,), (compiled_speed,) = measured["speeds"], measured["compiled_speeds"]
        assert measured["ratio"] == pytest.approx(compiled_speed / speed)
        assert row[2:] == [f"{speed:,.0f}", f"{compiled_speed:,.0f}", f"{measured['ratio']:.2f}"]
