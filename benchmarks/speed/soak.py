"""Long runs, monitored for growing memory, growing numbers of file descriptors and falling speed."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import psutil
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from benchmarks.tables import markdown_table
from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import make_compiled_vec_env


@dataclass(frozen=True)
class Run:
    """A training run on a number of CartPoles.

    :param name: name in tables
    :param make_env: makes the environments
    :param share: steps as a multiple of the requested ones
    :param is_compiled: whether it trains in compiled code. It saves between two parts only, since a callback for each
        step would prevent compiled code
    """

    name: str
    make_env: Callable[[], VecEnv | VectorEnv]
    share: float = 1.0
    is_compiled: bool = False


RUNS = {
    run.name: run
    for run in (
        Run(
            "1,024 native ones",
            lambda: gym.make_vec("CartPole-v1", 1024, vectorization_mode="vector_entry_point"),
        ),
        Run("16 in DummyVecEnv", lambda: make_vec_env("CartPole-v1", 16)),
        # slow, since its pipes take most of the time
        Run("8 in SubprocVecEnv", lambda: make_vec_env("CartPole-v1", 8, vec_env_cls=SubprocVecEnv), share=0.2),
        Run("16 compiled", lambda: make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 16), share=5.0, is_compiled=True),
    )
}
"""runs by name"""
N_PARTS = 20
"""parts of a run, with a sample after each"""
MEGABYTE = 2**20


@dataclass(frozen=True)
class Sample:
    """Measurements after a part of a run."""

    n_steps: int
    """steps so far"""
    steps_per_second: float
    """speed during the part"""
    resident_megabytes: float
    """resident size of the process and its workers"""
    n_file_descriptors: int
    """open file descriptors of the process"""
    n_saves: int
    """times the model was saved so far"""


def soak(run: Run, n_steps: int, seconds_between_saves: float) -> Iterator[Sample]:
    """Train, and measure the process after each of :data:`N_PARTS` parts.

    :param run: the run
    :param n_steps: requested environment steps, see :attr:`Run.share`
    :param seconds_between_saves: time between two saves of the model
    :return: a sample per part
    """
    model = TDA2C("MlpPolicy", run.make_env(), device="cpu")
    assert model.env is not None
    with tempfile.TemporaryDirectory() as folder:
        saves = _SaveEvery(seconds_between_saves, Path(folder) / "model.zip")
        for _ in range(N_PARTS):
            n_before, start = model.num_timesteps, time.perf_counter()
            callback = None if run.is_compiled else saves
            model.learn(int(run.share * n_steps) // N_PARTS, callback, reset_num_timesteps=False)
            speed = (model.num_timesteps - n_before) / (time.perf_counter() - start)
            if run.is_compiled:
                saves.save_if_due(model)
            process = psutil.Process()
            processes = [process, *process.children(recursive=True)]
            resident = sum(each.memory_info().rss for each in processes) / MEGABYTE
            yield Sample(model.num_timesteps, speed, resident, process.num_fds(), saves.n_saves)
    model.env.close()


class _SaveEvery(BaseCallback):
    """Saves the model every ``seconds`` seconds."""

    def __init__(self, seconds: float, path: Path) -> None:
        super().__init__()
        self._seconds = seconds
        self._path = path
        self._last_save = time.monotonic()
        self.n_saves = 0

    def _on_step(self) -> bool:
        self.save_if_due(self.model)
        return True

    def save_if_due(self, model: BaseAlgorithm) -> None:
        """Save a model if ``seconds`` have passed since the last time."""
        if time.monotonic() - self._last_save >= self._seconds:
            model.save(self._path)
            self._last_save = time.monotonic()
            self.n_saves += 1


def table(samples: dict[str, list[Sample]]) -> str:
    """Format the first and the last sample of each run as a Markdown table.

    :param samples: samples by run
    """
    header = ["environments", "steps", "minutes", "steps/s", "resident MiB", "file descriptors", "saves"]
    return markdown_table(header, [_row(name, run) for name, run in samples.items()])


def _row(name: str, run: list[Sample]) -> list[str]:
    first, last = run[0], run[-1]
    seconds = sum(first.n_steps / sample.steps_per_second for sample in run)
    return [
        name,
        f"{last.n_steps:,}",
        f"{seconds / 60:.1f}",
        f"{first.steps_per_second:,.0f} → {last.steps_per_second:,.0f}",
        f"{first.resident_megabytes:.1f} → {last.resident_megabytes:.1f}",
        f"{first.n_file_descriptors} → {last.n_file_descriptors}",
        str(last.n_saves),
    ]


def as_records(samples: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    """Convert the samples to JSON values."""
    return [{"environments": name, **asdict(sample)} for name, run in samples.items() for sample in run]


def from_records(records: Iterable[dict[str, Any]]) -> dict[str, list[Sample]]:
    """Convert the JSON values of :func:`as_records` back."""
    samples: dict[str, list[Sample]] = {}
    for record in records:
        values = {name: value for name, value in record.items() if name != "environments"}
        samples.setdefault(record["environments"], []).append(Sample(**values))
    return samples
