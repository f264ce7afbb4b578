"""What a run leaves: one compressed JSON file, there whole or not at all."""

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

    :param environment: the environment's id
    :param arm: the arm's name
    :param seed: number of the run, from 0; the seed of its generators is derived from it
    :param n_steps: environment steps that the run was given
    :param settings: the arm's settings on this environment
    :param episode_ends: the step at which each training episode ended, ``(n_episodes,)``, never falling
    :param episode_returns: its undiscounted sum of the environment's own rewards, ``(n_episodes,)``
    :param episode_lengths: its steps, ``(n_episodes,)``
    :param seconds: wall time of the training
    :param conditions: commit, versions and machine
    :param policy: the policy of every arm on the environment
    :param policy_kwargs: its arguments, of every arm; those in ``settings`` come on top
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
    # of the records made before these were kept
    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)


def path_of(folder: Path, environment: str, arm: str, seed: int) -> Path:
    """Name the file of a run: ``folder/environment/arm/seed.json.gz``."""
    return folder / environment.replace("/", "-") / arm / f"{seed}{SUFFIX}"


def save(record: Record, folder: Path) -> Path:
    """Write a record; whoever is stopped in between leaves the file that was there before, if any.

    :return: the file
    """
    path = path_of(folder, record.environment, record.arm, record.seed)
    content = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(record).items()}
    # no time of day in it: the same record gives the same bytes
    write(gzip.compress(json.dumps(content).encode(), mtime=0), path)
    return path


def load(path: Path) -> Record:
    """Read a record.

    :raises ValueError: if the file is not one, naming it
    """
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        arrays = {name: np.array(content.pop(name), dtype=dtype) for name, dtype in _ARRAYS.items()}
        return Record(**(content | arrays))
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not the record of a run ({error}): delete it, and run its job again") from error


def load_all(folder: Path) -> Iterator[Record]:
    """Read all records under a folder, in the order of their names."""
    for path in sorted(folder.glob(f"*/*/*{SUFFIX}")):
        yield load(path)


_ARRAYS = {"episode_ends": np.int64, "episode_returns": np.float64, "episode_lengths": np.int64}
