import json
from pathlib import Path

import pytest

from benchmarks.speed import chart, jax_comparison, throughput
from tests.benchmarks.speed import run


def measured(setting: str, arm: str, speed: float) -> throughput.Measurement:
    return throughput.Measurement(setting, 1, arm, [speed], 1.0, 1.0)


def made_up_results() -> tuple[list[throughput.Measurement], list[jax_comparison.Measurement]]:
    speeds = {
        "A2C, 16 environments": 300.0,
        "A2C, 64 environments": 500.0,
        'TDA2C, engine="auto"': 7_000.0,
        "TDA2C, compiled": 200_000.0,
        "the environments alone": 30_000.0,
        "the compiled environments alone": 3e6,
    }
    arms = [measured(setting, arm, speed) for setting in chart.SETTINGS.values() for arm, speed in speeds.items()]
    in_jax = [
        jax_comparison.Measurement(n_envs, arm, 1_000, [1.0], [1.0], [500.0], ratio)
        for n_envs in chart.SETTINGS
        for arm, ratio in (("A2C in JAX, one core", 0.8), ("A2C in JAX", 0.5))
    ]
    return arms, in_jax


def test_rows_hold_the_fastest_a2c_and_jax_by_its_ratio() -> None:
    rows = chart.speeds(*made_up_results())
    assert list(rows) == [1, 16, 1024]
    for row in rows.values():
        assert list(row.values()) == pytest.approx([500, 7_000, 250_000, 200_000, 3e6])


def test_chart_is_drawn_from_saved_results(tmp_path: Path) -> None:
    arms, in_jax = made_up_results()
    saved = {"throughput": throughput.as_records(arms), "jax": jax_comparison.as_records(in_jax)}
    for name, results in saved.items():
        (tmp_path / f"{name}-cpu.json").write_text(json.dumps({"results": results}))
    run("chart", "--output", str(tmp_path))
    assert (tmp_path / "speed-cpu.png").read_bytes().startswith(b"\x89PNG")
