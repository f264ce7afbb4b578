"""Records of runs: one compressed JSON file each, written atomically."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sb3_a2c_td.saving.atomic import write

SUFFIX = ".json.gz"


@dataclass(frozen=True, eq=False)
class Record:
    """One finished run of an arm on an environment.

    :param environment: id of the environment
    :param arm: name of the arm
    :param seed: number of the run, from 0; the seed of its random generators is derived from it
    :param n_steps: environment steps of the run
    :param settings: the arm's settings on this environment
    :param episode_ends: steps at which training episodes ended, non-decreasing, ``(n_episodes,)``
    :param episode_returns: undiscounted sums of the environment's own rewards, ``(n_episodes,)``
    :param episode_lengths: numbers of steps, ``(n_episodes,)``
    :param seconds: wall time of the training
    :param conditions: commit, versions and machine
    :param policy: policy of all arms on this environment
    :param policy_kwargs: arguments of the policy, for all arms; those in ``settings`` take precedence
    """

    environment: str
    arm: str
    seed: int
    n_steps: int
    settings: dict[str, Any]
    episode_ends: np.ndarray
    episode_returns: np.ndarray
    episode_lengths: np.ndarray
    seconds: float
    conditions: dict[str, Any]
    # older records do not have these two
    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)


def path_of(folder: Path, environment: str, arm: str, seed: int) -> Path:
    """Return the path of a run's record: ``folder/environment/arm/seed.json.gz``."""
    return folder / environment.replace("/", "-") / arm / f"{seed}{SUFFIX}"


def save(record: Record, folder: Path) -> Path:
    """Write a record atomically. An interrupted write leaves an existing file untouched.

    :param record: the record
    :param folder: folder of the records
    :return: the file
    """
    path = path_of(folder, record.environment, record.arm, record.seed)
    content = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(record).items()}
    # without a timestamp, so that equal records have equal bytes
    write(gzip.compress(json.dumps(content).encode(), mtime=0), path)
    return path


def load(path: Path) -> Record:
    """Read a record.

    :param path: the file
    :raises ValueError: if the file is not a record
    """
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        arrays = {name: np.array(content.pop(name), dtype=dtype) for name, dtype in _ARRAYS.items()}
        return Record(**(content | arrays))
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not the record of a run ({error}): delete it and run its job again") from error


def load_all(folder: Path) -> Iterator[Record]:
    """Read all records in a folder, sorted by path."""
    for path in sorted(folder.glob(f"*/*/*{SUFFIX}")):
        yield load(path)


_ARRAYS = {"episode_ends": np.int64, "episode_returns": np.float64, "episode_lengths": np.int64}
