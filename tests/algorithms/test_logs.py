"""Logs have the same keys in every format, the ones that docs/logging.md lists."""

import csv
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces
from stable_baselines3.common.logger import KVWriter, Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_a2c_td import TDA2C
from tests.environments import RandomEnv

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
KEYS_OF_WANDB = {"_step", "_runtime", "_timestamp", "global_step"}

Log = list[dict[str, float]]
"""one dict for each time that something was logged"""


class SucceedingEnv(RandomEnv):
    """Makes TDA2C log every key: it has Box actions, and its infos have ``is_success``."""

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
    return [{key: float(value) for key, value in row.items() if key not in KEYS_OF_WANDB} for row in rows]


def leveldb_records(log: bytes) -> Iterator[bytes]:
    """Read LevelDB's log format, in which W&B stores offline runs after a header of seven bytes."""
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


def test_every_format_gets_the_same_keys_and_values(folder: Path) -> None:
    expected = from_json(folder)
    assert_same_logs(from_csv(folder), expected)
    assert_same_logs(from_tensorboard(folder), expected)


def test_the_page_lists_every_key(folder: Path) -> None:
    listed = re.findall(r"^\| `(\w+/\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == keys(from_csv(folder))


def test_logged_counts_are_correct(folder: Path) -> None:
    """Episodes of seven steps are cut into rollouts of five and two steps."""
    for n, row in enumerate(from_csv(folder), start=1):
        assert row["time/iterations"] == n
        assert row["time/total_timesteps"] == n // 2 * 7 + n % 2 * 5
        assert ("train/n_updates" in row) == (n > 1)
        assert row.get("train/n_updates", 0) == n - 1
        assert row.get("rollout/ep_len_mean", 7) == 7
        assert ("rollout/success_rate" in row) == (n > 1)


class Recorder(KVWriter):
    """Keeps the values that were written last, and the formats that each was excluded from."""

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.values, self.excluded, self.step = dict(key_values), dict(key_excluded), step


@pytest.mark.parametrize("iteration", [0, 3])
def test_dump_logs_writes_what_sb3_writes_to_every_format(iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, sb3s = Recorder(), Recorder()
    model = TDA2C("MlpPolicy", SucceedingEnv(), seed=0, device="cpu").learn(50)
    now = time.time_ns() + 2_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    for recorder, dump_logs in ((ours, TDA2C.dump_logs), (sb3s, OnPolicyAlgorithm.dump_logs)):
        model.set_logger(Logger(None, [recorder]))
        model.logger.record("users/key", 1, exclude="csv")
        dump_logs(model, iteration)
    assert list(ours.values.items()) == list(sb3s.values.items())
    assert ours.values["time/total_timesteps"] == ours.step == 50
    # SB3 stores an empty string where nothing is excluded
    assert {key: excluded for key, excluded in ours.excluded.items() if excluded != ("",)} == {"users/key": ("csv",)}


def run(code: str, folder: Path) -> None:
    """Run code of the page in another process, since it leaves files open and Weights & Biases patches its process."""
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1]), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_weights_and_biases_gets_the_same_keys_and_values_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (block,) = [block for block in BLOCKS if "wandb" in block]
    run(block, tmp_path)
    expected = from_json(tmp_path / "runs" / "cartpole")
    assert {"train/td_error", "rollout/ep_rew_mean", "time/fps", "time/total_timesteps"} <= keys(expected)
    assert_same_logs(from_wandb(tmp_path), expected)


@pytest.mark.slow
def test_the_other_code_of_the_page_runs(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    blocks = [block for block in BLOCKS if "wandb" not in block]
    run(f"for block in {blocks!r}: exec(block, {{}})", tmp_path)
    for file in ("logs/progress.csv", "learning_curve.png", "videos/rl-video-step-0-to-step-50.mp4"):
        assert (tmp_path / file).stat().st_size > 0
