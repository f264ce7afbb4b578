"""Environments that go wrong, and jobs of a moment."""

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


@dataclass(frozen=True)
class Raising(Environment):
    """Cannot be made."""

    def make(self) -> gym.Env[Any, Any]:
        raise RuntimeError("the game is not installed")


@dataclass(frozen=True)
class Exiting(Environment):
    """Asks for the end of Python."""

    def make(self) -> gym.Env[Any, Any]:
        raise SystemExit("the game is over")


@dataclass(frozen=True)
class Dying(Environment):
    """Its process is killed, as by a system without memory; each try leaves a file in the folder."""

    tries: Path = Path()

    def make(self) -> gym.Env[Any, Any]:
        (self.tries / f"{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class Slow(Environment):
    """Leaves a file with its process's number in the folder, and takes its time."""

    starts: Path = Path()

    def make(self) -> gym.Env[Any, Any]:
        (self.starts / f"{time.time_ns()}").write_text(str(os.getpid()))
        time.sleep(0.7)
        return super().make()


def job(environment: Environment | None = None, seed: int = 0, settings: Settings | None = None) -> Job:
    return Job(
        environment or Environment("CartPole-v1", n_steps=200, n_seeds=1, solved=475.0),
        arm="random" if settings is None else "other",
        settings=settings or Settings("random"),
        seed=seed,
    )
