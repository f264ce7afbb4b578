import dataclasses
import gzip
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning.records import Record, load, load_all, path_of, save


def record(seed: int = 0, n_episodes: int = 3) -> Record:
    lengths = np.arange(1, n_episodes + 1)
    return Record(
        environment="MinAtar/Breakout-v1",
        arm="tda2c",
        seed=seed,
        n_steps=100,
        settings={"algorithm": "TDA2C", "arguments": {"gamma": 0.9}},
        episode_ends=np.cumsum(lengths),
        episode_returns=lengths / 3,
        episode_lengths=lengths,
        seconds=1.5,
        conditions={"commit": "abc"},
    )


def assert_equal(one: Record, other: Record) -> None:
    for field in dataclasses.fields(Record):
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("n_episodes", [0, 3])
def test_record_survives_saving(tmp_path: Path, n_episodes: int) -> None:
    written = record(n_episodes=n_episodes)
    path = save(written, tmp_path)
    assert path == path_of(tmp_path, "MinAtar/Breakout-v1", "tda2c", 0)
    assert path.relative_to(tmp_path).as_posix() == "MinAtar-Breakout-v1/tda2c/0.json.gz"
    read = load(path)
    assert_equal(read, written)
    assert read.episode_ends.dtype == read.episode_lengths.dtype == np.int64
    assert read.episode_returns.dtype == np.float64


def test_equal_records_have_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(record(), tmp_path / "first").read_bytes()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert save(record(), tmp_path / "second").read_bytes() == first


def test_load_all_ignores_temporary_files(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        save(record(seed), tmp_path)
    path_of(tmp_path, "MinAtar/Breakout-v1", "tda2c", 0).with_name(".0.json.gz.123").write_bytes(b"half a rec")
    assert [read.seed for read in load_all(tmp_path)] == [0, 1, 2]
    assert list(load_all(tmp_path / "none")) == []


HEADER = gzip.compress(b"", mtime=0)[:10]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        gzip.compress(b"{}", mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b"7", mtime=0),
        gzip.compress(b'{"environment": "CartP', mtime=0),
        gzip.compress(b"\xff\xfe", mtime=0),
        gzip.compress(b"{}", mtime=0)[:-5],
        HEADER + b"\xff" * 20,
        gzip.compress(b'{"episode_ends": ["x"], "episode_returns": [], "episode_lengths": []}', mtime=0),
        gzip.compress(b'{"episode_ends": [], "episode_returns": [], "episode_lengths": [], "color": 1}', mtime=0),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.json.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is not the record of a run .*: delete it and run its job again"):
        load(path)


@pytest.mark.slow
def test_killed_process_leaves_a_complete_record(tmp_path: Path) -> None:
    code = """if True:
        import itertools, sys
        from pathlib import Path
        from benchmarks.learning.records import save
        from tests.benchmarks.learning.test_records import record
        for n_episodes in itertools.count(1000):
            save(record(n_episodes=n_episodes), Path(sys.argv[1]))
            print(n_episodes, flush=True)
    """
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last = int(process.stdout.readline())
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        last = int(([last, *process.stdout.read().split()])[-1])
        process.wait()
        process.stdout.close()
        (found,) = load_all(tmp_path)
        # the last record that was reported as written, or the next one, killed before its report
        n_episodes = len(found.episode_ends)
        assert n_episodes in (last, last + 1)
        assert_equal(found, record(n_episodes=n_episodes))
