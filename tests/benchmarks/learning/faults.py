"""Environments with faults, and short jobs."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

from benchmarks.learning.environments import Environment
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import Job
from tests.benchmarks.learning.environments import WithMonitors

GAME = {"n_steps": 200, "n_seeds": 1, "solved": 475.0}


@dataclass(frozen=True)
class Raising(WithMonitors):
    """Raises an exception when it is made."""

    def make(self) -> gym.Env[Any, Any]:
        raise RuntimeError("the game is not installed")


@dataclass(frozen=True)
class Exiting(WithMonitors):
    """Raises ``SystemExit`` when it is made."""

    def make(self) -> gym.Env[Any, Any]:
        raise SystemExit("the game is over")


@dataclass(frozen=True)
class Dying(WithMonitors):
    """Kills its process when it is made, as if memory had run out, and leaves a file per attempt in a folder."""

    tries: Path = Path()

    def make(self) -> gym.Env[Any, Any]:
        (self.tries / f"{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class Slow(WithMonitors):
    """Writes its process id to a file in a folder, and takes 0.7 seconds to be made."""

    starts: Path = Path()

    def make(self) -> gym.Env[Any, Any]:
        (self.starts / f"{time.time_ns()}").write_text(str(os.getpid()))
        time.sleep(0.7)
        return super().make()


def job(environment: Environment | None = None, seed: int = 0, settings: Settings | None = None) -> Job:
    """Make a short job, by default with random actions on CartPole."""
    return Job(
        environment or Environment("CartPole-v1", n_steps=200, n_seeds=1, solved=475.0),
        arm="random" if settings is None else "other",
        settings=settings or Settings("random"),
        seed=seed,
    )
