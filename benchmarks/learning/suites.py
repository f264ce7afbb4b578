"""The suites: which arms run on which environments, with which seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.learning.arms import ARMS, CONTRIB_ARMS, Arm
from benchmarks.learning.environments import (
    ENVIRONMENTS,
    MASKED_ENVIRONMENTS,
    MEMORY_ENVIRONMENTS,
    Environment,
)
from benchmarks.learning.settings import Settings

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class Job:
    """One run to be made."""

    environment: Environment
    arm: str
    settings: Settings
    seed: int


@dataclass(frozen=True)
class Suite:
    """Arms on environments.

    :param name: its name on the command line
    :param summary: what it is for
    :param arms: the arms
    :param environments: the environments
    :param runs: folder for the records
    """

    name: str
    summary: str
    arms: tuple[Arm, ...]
    environments: tuple[Environment, ...]
    runs: Path = RESULTS / "runs"

    def jobs(self, n_seeds: int | None = None) -> list[Job]:
        """Give its jobs, the first seed of all first, so that a part of them is a small benchmark.

        :param n_seeds: seeds of each arm on each environment; ``None``: as many as the environment has
        """
        jobs = [
            Job(environment, arm.name, settings, seed)
            for environment in self.environments
            for arm in self.arms
            if (settings := arm.settings_on(environment)) is not None
            for seed in range(environment.n_seeds if n_seeds is None else n_seeds)
        ]
        return sorted(jobs, key=lambda job: job.seed)


def _arms(names: Sequence[str]) -> tuple[Arm, ...]:
    return tuple(ARMS[name] for name in names)


MAIN_ARMS = (
    "random",
    "tda2c",
    "tda2c-tuned",
    "tda2c-tuned-first",
    "tda2c-double-softmax",
    "a2c",
    "a2c-zoo",
    "a2c-td0",
    "ppo-zoo",
)
ABLATION_ARMS = tuple(name for name in ARMS if name not in MAIN_ARMS)
ABLATION_ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "FrozenLake-v1")

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            "does everything run? no evidence of anything",
            _arms(("random", "tda2c", "a2c")),
            (replace(ENVIRONMENTS["CartPole-v1"], n_steps=2_000, n_seeds=2),),
            runs=RESULTS / "smoke",
        ),
        Suite("main", "TDA2C beside A2C and PPO", _arms(MAIN_ARMS), tuple(ENVIRONMENTS.values())),
        Suite(
            "ablation",
            "the seed's choices, one at a time",
            _arms(("tda2c", *ABLATION_ARMS)),
            tuple(ENVIRONMENTS[name] for name in ABLATION_ENVIRONMENTS),
        ),
        Suite(
            "memory",
            "RecurrentTDA2C beside RecurrentPPO where not everything is shown",
            tuple(CONTRIB_ARMS[name] for name in ("tda2c-lstm", "tda2c-feed-forward", "recurrent-ppo")),
            MEMORY_ENVIRONMENTS,
            runs=RESULTS / "contrib",
        ),
        Suite(
            "masks",
            "MaskableTDA2C beside MaskablePPO where not every action is allowed",
            tuple(CONTRIB_ARMS[name] for name in ("tda2c-maskable", "maskable-ppo-as-a2c", "maskable-ppo")),
            MASKED_ENVIRONMENTS,
            runs=RESULTS / "contrib",
        ),
    )
}
