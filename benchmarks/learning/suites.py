"""Suites: which arms run on which environments, and with which seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.learning.arms import ARMS, CONTRIB_ARMS, MATCHED_ARMS, PART_ARMS, VARIED_ARMS, Arm
from benchmarks.learning.environments import (
    DEVELOPMENT_ENVIRONMENTS,
    ENVIRONMENTS,
    FLAT_BREAKOUT,
    HELD_OUT_ENVIRONMENTS,
    MASKED_ENVIRONMENTS,
    PARTIALLY_OBSERVED_ENVIRONMENTS,
    Environment,
)
from benchmarks.learning.settings import Settings
from sb3_a2c_td.compiled.making import ENVS

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class Job:
    """A run to train: an arm with its settings on an environment, and the number of the run."""

    environment: Environment
    arm: str
    settings: Settings
    seed: int


@dataclass(frozen=True)
class Suite:
    """Arms to compare on environments.

    :param name: name on the command line
    :param summary: purpose of the suite
    :param arms: the arms
    :param environments: the environments
    :param runs: folder of the records
    :param first_run: number of the first run of each arm
    """

    name: str
    summary: str
    arms: tuple[Arm, ...]
    environments: tuple[Environment, ...]
    runs: Path = RESULTS / "runs"
    first_run: int = 0

    def jobs(self, n_seeds: int | None = None) -> list[Job]:
        """Return the jobs sorted by seed, so that the first ones form a small benchmark.

        :param n_seeds: runs of each arm on each environment; ``None`` for each environment's default
        """
        jobs = [
            Job(environment, arm.name, settings, seed)
            for environment in self.environments
            for arm in self.arms
            if (settings := arm.settings_on(environment)) is not None
            for seed in self._seeds(environment.n_seeds if n_seeds is None else n_seeds)
        ]
        return sorted(jobs, key=lambda job: job.seed)

    def _seeds(self, n_seeds: int) -> range:
        return range(self.first_run, self.first_run + n_seeds)


def _arms(names: Sequence[str]) -> tuple[Arm, ...]:
    return tuple(ARMS[name] for name in names)


OUT_OF_THE_BOX_ARMS = ("random", "tda2c-general", "tda2c", "a2c", "ppo")
"""arms with one setting for all environments"""
MAIN_ARMS = (
    "random",
    "tda2c",
    "tda2c-tuned",
    "tda2c-tuned-first",
    "tda2c-double-softmax",
    "a2c",
    "a2c-tuned",
    "a2c-tuned-first",
    "a2c-zoo",
    "a2c-td0",
    "ppo-zoo",
)
ABLATION_ARMS = tuple(name for name in ARMS if name not in (*OUT_OF_THE_BOX_ARMS, *MAIN_ARMS))
ABLATION_ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "FrozenLake-v1")
COMPILED_ENVIRONMENTS = tuple(each for each in DEVELOPMENT_ENVIRONMENTS if f"sb3_a2c_td/{each.name}" in ENVS)

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            "checks that everything runs; too short for conclusions",
            _arms(("random", "tda2c", "a2c")),
            (replace(ENVIRONMENTS["CartPole-v1"], n_steps=2_000, n_seeds=2),),
            runs=RESULTS / "smoke",
        ),
        Suite("main", "TDA2C compared with A2C and PPO", _arms(MAIN_ARMS), tuple(ENVIRONMENTS.values())),
        Suite(
            "ablation",
            "the reference's choices, changed one at a time",
            _arms(("tda2c", *ABLATION_ARMS)),
            tuple(ENVIRONMENTS[name] for name in ABLATION_ENVIRONMENTS),
        ),
        Suite(
            "held-out",
            "TDA2C, A2C and PPO out of the box, on environments that no study saw",
            _arms(OUT_OF_THE_BOX_ARMS),
            HELD_OUT_ENVIRONMENTS,
        ),
        Suite(
            "development",
            "TDA2C and A2C out of the box, on the environments that the general setting was chosen on",
            _arms([arm for arm in OUT_OF_THE_BOX_ARMS if arm != "ppo"]),
            # on MinAtar's Breakout, the arms of the main suite have another policy
            tuple(environment for environment in DEVELOPMENT_ENVIRONMENTS if environment != FLAT_BREAKOUT),
        ),
        Suite(
            "matched",
            "A2C with the settings of tda2c-tuned: is it the settings or the algorithm?",
            (MATCHED_ARMS["a2c-matched"],),
            tuple(replace(environment, n_seeds=10) for environment in ENVIRONMENTS.values()),
        ),
        Suite(
            "returns",
            "A2C with the settings of tda2c-tuned and different returns: is one step ever better than several?",
            tuple(arm for arm in MATCHED_ARMS.values() if arm.name != "a2c-matched"),
            tuple(replace(ENVIRONMENTS[name], n_seeds=5) for name in ABLATION_ENVIRONMENTS),
        ),
        Suite(
            "fresh",
            "new seeds for three comparisons that lost the verdict when the rule became stricter",
            (
                ARMS["tda2c-tuned"],
                ARMS["a2c"],
                replace(ARMS["a2c-td0"], settings_of={"MinAtar/Breakout-v1": None}),
            ),
            tuple(replace(ENVIRONMENTS[name], n_seeds=20) for name in ("LunarLander-v3", "MinAtar/Breakout-v1")),
            runs=RESULTS / "fresh",
            first_run=10,
        ),
        Suite(
            "sensitivity",
            "the general setting with one number changed, on the compiled environments",
            tuple(VARIED_ARMS.values()),
            COMPILED_ENVIRONMENTS,
        ),
        Suite(
            "parts",
            "the general setting with one part changed, on the compiled environments",
            tuple(PART_ARMS.values()),
            tuple(replace(environment, n_seeds=5) for environment in COMPILED_ENVIRONMENTS),
        ),
        Suite(
            "recurrent",
            "RecurrentTDA2C compared with RecurrentPPO on partially observed environments",
            tuple(CONTRIB_ARMS[name] for name in ("tda2c-lstm", "tda2c-feed-forward", "recurrent-ppo")),
            PARTIALLY_OBSERVED_ENVIRONMENTS,
            runs=RESULTS / "contrib",
        ),
        Suite(
            "masks",
            "MaskableTDA2C compared with MaskablePPO on environments with action masks",
            tuple(CONTRIB_ARMS[name] for name in ("tda2c-maskable", "maskable-ppo-as-a2c", "maskable-ppo")),
            MASKED_ENVIRONMENTS,
            runs=RESULTS / "contrib",
        ),
    )
}
