"""Logs: the same in every format, and as docs/logging.md says."""

import csv
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces
from stable_baselines3.common.logger import Logger, configure

from sb3_a2c_td import TDA2C
from tests.environments import RandomEnv

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
OF_WANDB = {"_step", "_runtime", "_timestamp", "global_step"}

Log = list[dict[str, float]]
"""what was logged each time, under ``time/total_timesteps`` the step"""


class SucceedingEnv(RandomEnv):
    """Logs everything: it has Box actions, and says whether episodes succeeded."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)))

    def step(self, action: Any):
        *outcome, info = super().step(action)
        return *outcome, info | {"is_success": True}


def from_csv(folder: Path) -> Log:
    with (folder / "progress.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def from_json(folder: Path) -> Log:
    return [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]


def from_tensorboard(folder: Path) -> Log:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    rows: dict[int, dict[str, float]] = {}
    for key in events.Tags()["scalars"]:
        for event in events.Scalars(key):
            rows.setdefault(event.step, {})[key] = event.value
    return list(rows.values())


def from_wandb(folder: Path) -> Log:
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = []
    for content in leveldb_records(file.read_bytes()[7:]):
        record = messages.Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            rows.append({item.key or "/".join(item.nested_key): item.value_json for item in record.history.item})
    return [{key: float(value) for key, value in row.items() if key not in OF_WANDB} for row in rows]


def leveldb_records(log: bytes) -> Iterator[bytes]:
    """Read LevelDB's log format, in which offline runs are kept; seven bytes of the first block are W&B's own."""
    block_size, header = 32_768, struct.Struct("<IHB")
    full, last = 1, 4
    position, record = 0, b""
    while position + header.size <= len(log):
        left_in_block = block_size - (position + 7) % block_size
        if left_in_block < header.size:
            position += left_in_block
            continue
        _, length, kind = header.unpack_from(log, position)
        position += header.size
        record += log[position : position + length]
        position += length
        if kind in (full, last):
            yield record
            record = b""


def keys(log: Log) -> set[str]:
    return set().union(*log)


def assert_same_logs(log: Log, expected: Log) -> None:
    by_step = {row["time/total_timesteps"]: row for row in log}
    assert len(by_step) == len(expected) > 3
    for row in expected:
        assert by_step[row["time/total_timesteps"]] == pytest.approx(row, rel=1e-6, nan_ok=True)


def logged(folder: Path, n_steps: int = 200, **kwargs: Any) -> Logger:
    logger = configure(str(folder), ["csv", "json", "tensorboard"])
    model = TDA2C("MlpPolicy", SucceedingEnv(), seed=0, device="cpu", **kwargs)
    model.set_logger(logger)
    model.learn(n_steps, log_interval=1)
    logger.close()
    return logger


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    logged(path)
    return path


def test_all_formats_of_sb3_get_the_same(folder: Path) -> None:
    expected = from_json(folder)
    assert_same_logs(from_csv(folder), expected)
    assert_same_logs(from_tensorboard(folder), expected)


def test_the_page_lists_what_is_logged(folder: Path) -> None:
    listed = re.findall(r"^\| `(\w+/\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == keys(from_csv(folder))


def test_what_stands_in_the_log_is_what_happened(folder: Path) -> None:
    """Episodes of seven steps are cut into intervals of five and two."""
    for n, row in enumerate(from_csv(folder), start=1):
        assert row["time/iterations"] == n
        assert row["time/total_timesteps"] == n // 2 * 7 + n % 2 * 5
        assert ("train/n_updates" in row) == (n > 1)
        assert row.get("train/n_updates", 0) == n - 1
        assert row.get("rollout/ep_len_mean", 7) == 7
        assert ("rollout/success_rate" in row) == (n > 1)


def test_the_users_logger_is_left_as_it_was(tmp_path: Path) -> None:
    logger = logged(tmp_path, 20)
    logger.record("kept/from", 1, exclude="tensorboard")
    assert logger.name_to_excluded["kept/from"] == ("tensorboard",)
    assert vars(logger).keys() == vars(configure(str(tmp_path), [])).keys()


def run(code: str, folder: Path) -> None:
    """Run code of the page in a process of its own: it leaves files open, and Weights & Biases changes the process."""
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1]), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)


def test_weights_and_biases_gets_the_same_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (block,) = [block for block in BLOCKS if "wandb" in block]
    run(block, tmp_path)
    expected = from_json(tmp_path / "runs" / "cartpole")
    assert {"train/td_error", "rollout/ep_rew_mean", "time/fps", "time/total_timesteps"} <= keys(expected)
    assert_same_logs(from_wandb(tmp_path), expected)


def test_the_pages_other_code_runs(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    blocks = [block for block in BLOCKS if "wandb" not in block]
    run(f"for block in {blocks!r}: exec(block, {{}})", tmp_path)
    for file in ("logs/progress.csv", "learning_curve.png", "videos/rl-video-step-0-to-step-50.mp4"):
        assert (tmp_path / file).stat().st_size > 0
