"""Studies: Optuna tunes an algorithm for an environment, or one setting for many.

The score of a trial is the mean area under the curve of several runs. A trial below the median of the others is pruned.
The best of many trials is partly lucky, so the best few are run again on new seeds, and the best of these is chosen. No
run of the suites uses any of these seeds.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.learning import search_spaces
from benchmarks.learning.arms import STUDIES
from benchmarks.learning.curves import area_under_curve
from benchmarks.learning.environments import DEVELOPMENT_ENVIRONMENTS, ENVIRONMENTS, Environment
from benchmarks.learning.search_spaces import A2C_GUESS, GENERAL_GUESSES, TUNED_GUESS, TunedSpace
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import Job
from benchmarks.learning.training import train
from sb3_a2c_td.saving.atomic import write

TRIAL_SEEDS = 1_000_000
"""seed of a trial's first run; those of the suites are far below"""
FINAL_SEEDS = 2_000_000
"""seed of a finalist's first run"""
DEVELOPMENT_RANGES = {
    "CartPole-v1": (22.0, 500.0),
    "Acrobot-v1": (-500.0, -80.0),
    "MountainCar-v0": (-200.0, -110.0),
    "Pendulum-v1": (-1230.0, -150.0),
    "InvertedPendulum-v5": (6.0, 1000.0),
    "MountainCarContinuous-v0": (-33.0, 93.0),
    "CliffWalking-v1": (-200.0, -13.0),
    "LunarLanderContinuous-v3": (-200.0, 200.0),
    "HalfCheetah-v5": (-280.0, 1000.0),
    "Hopper-v5": (18.0, 1000.0),
    "LunarLander-v3": (-180.0, 200.0),
    "FrozenLake-v1": (0.015, 0.75),
    "MinAtar/Breakout-v1": (0.5, 6.0),
}
"""return of random actions (on CliffWalking, of standing still) and a return that is good after 50,000 steps"""


@dataclass(frozen=True)
class Study:
    """Search space and budget of a study.

    :param name: name of the study, and of the file of its result
    :param environments: environments of each trial, the fastest first
    :param space: samples the settings of a trial for an environment
    :param guesses: parameters of the first trials; Optuna samples those that are missing
    :param ranges: areas that count as 0 and as 1, by environment; without them, areas count as they are
    :param n_trials: number of settings to try
    :param n_seeds: runs of each trial on each environment
    :param n_finalists: number of settings to run again
    :param n_final_seeds: runs of each finalist on each environment
    :param n_unpruned: number of runs before a trial can be pruned
    """

    name: str
    environments: tuple[Environment, ...]
    space: Callable[[optuna.trial.BaseTrial, Environment], Settings]
    guesses: tuple[Mapping[str, Any], ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    n_trials: int = 40
    n_seeds: int = 3
    n_finalists: int = 3
    n_final_seeds: int = 6
    n_unpruned: int = 0

    def runs(self, n_seeds: int) -> list[tuple[int, Environment]]:
        """Return the seeds and environments of a trial's or finalist's runs."""
        return [(seed, environment) for seed in range(n_seeds) for environment in self.environments]

    def score(self, environment: Environment, area: float) -> float:
        """Scale an area to the environment's range, with limits of -0.5 and 1."""
        if not self.ranges:
            return area
        low, high = self.ranges[environment.name]
        return float(np.clip((area - low) / (high - low), -0.5, 1.0))


BUDGETS: dict[str, tuple[tuple[int, ...], int]] = {
    "CartPole-v1": ((1,), 40),
    # fewer trials, since a run takes a minute
    "Hopper-v5": ((1, 4, 8), 24),
    # a run takes minutes. A first study with 8 or 16 environments, and so fewer updates, found worse settings
    "MinAtar/Breakout-v1": ((1, 2, 4), 24),
}
"""numbers of parallel environments to choose from, and number of trials, where they differ from the others'"""


def tuned_study(environment: Environment, space: TunedSpace, first_guess: Mapping[str, Any], folder: str = "") -> Study:
    """Return the study of an algorithm on an environment.

    :param environment: the environment
    :param space: samples the algorithm's settings
    :param first_guess: parameters of the first trial
    :param folder: folder of the result, with a slash at the end
    """
    n_envs, n_trials = BUDGETS.get(environment.name, ((1, 4, 8), 40))
    return Study(
        folder + environment.name.replace("/", "-"),
        (environment,),
        partial(space, n_envs=n_envs),
        ({**first_guess, "n_envs": n_envs[0]},),
        n_trials=n_trials,
    )


def general_study() -> Study:
    """Return the study of TDA2C's general setting, on the first 50,000 steps of all development environments."""
    environments = {environment.name: environment for environment in DEVELOPMENT_ENVIRONMENTS}
    return Study(
        "general",
        tuple(replace(environments[name], n_steps=50_000) for name in DEVELOPMENT_RANGES),
        search_spaces.general,
        GENERAL_GUESSES,
        DEVELOPMENT_RANGES,
        n_trials=58,
        n_seeds=1,
        n_finalists=5,
        n_final_seeds=4,
        n_unpruned=6,
    )


STUDIES_OF = {
    **{name: tuned_study(each, search_spaces.tuned, TUNED_GUESS) for name, each in ENVIRONMENTS.items()},
    **{
        f"a2c/{name}": tuned_study(each, search_spaces.tuned_a2c, A2C_GUESS, folder="a2c/")
        for name, each in ENVIRONMENTS.items()
    },
    "general": general_study(),
}
"""studies by their name on the command line: TDA2C on an environment, A2C on it, TDA2C on many"""


def tune(study: Study, n_jobs: int, folder: Path = STUDIES) -> dict[str, Any]:
    """Run or resume a study, and write its result. A finished study is not repeated.

    :param study: the study
    :param n_jobs: number of parallel trials
    :param folder: folder of the result, and of the trials' journal until the study is finished
    :return: the result as written: the best settings, the finalists, and all trials
    """
    path = folder / f"{study.name}.json"
    finished = _finished_study(path, study.n_trials)
    if finished is not None:
        return finished
    for guess in study.guesses:
        _optuna_study(study, folder).enqueue_trial(dict(guess), skip_if_exists=True)
    # a resumed study must not sample the same settings again: each start has other seeds, since each job begins a trial
    n_begun = sum(trial.state != TrialState.WAITING for trial in _optuna_study(study, folder).trials)
    joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_search)(study, folder, sampler_seed=n_begun + job) for job in range(n_jobs)
    )
    trials = _optuna_study(study, folder).trials
    finalists, seconds = _finalists(study, trials, n_jobs)
    seconds += sum(trial.duration.total_seconds() for trial in trials if trial.duration is not None)
    result = {
        "environments": {environment.name: environment.n_steps for environment in study.environments},
        "core_hours": round(seconds / 3600, 2),
        "best": max(finalists, key=lambda finalist: np.mean(finalist["scores"])),
        "finalists": finalists,
        "trials": [_summary(trial) for trial in trials],
    }
    write(f"{json.dumps(result, indent=1)}\n".encode(), path)
    _journal(study, folder).unlink()
    return result


def _finished_study(path: Path, n_trials: int) -> dict[str, Any] | None:
    """Read the result of a study; ``None`` if it is missing or has fewer trials."""
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result if len(result["trials"]) >= n_trials else None


def _finalists(study: Study, trials: list[optuna.trial.FrozenTrial], n_jobs: int) -> tuple[list[dict[str, Any]], float]:
    """Run the best trials again, on new seeds; return them with the seconds that their runs took together."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ranked = sorted(complete, key=lambda trial: -trial.values[0])
    best = [optuna.trial.FixedTrial(trial.params, trial.number) for trial in ranked[: study.n_finalists]]
    runs = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_timed_score)(study, study.space(trial, environment), seed, environment, FINAL_SEEDS)
        for trial in best
        for seed, environment in study.runs(study.n_final_seeds)
    )
    scores, seconds = np.transpose(runs)
    scores_by_trial = np.reshape(scores, (len(best), -1)).tolist()
    finalists = [
        {
            "trial": trial.number,
            "settings": {each.name: asdict(study.space(trial, each)) for each in study.environments},
            "scores": trial_scores,
        }
        for trial, trial_scores in zip(best, scores_by_trial, strict=True)
    ]
    return finalists, float(seconds.sum())


def _search(study: Study, folder: Path, sampler_seed: int) -> None:
    optuna_study = _optuna_study(study, folder, sampler_seed)
    # an interrupted trial has failed and does not count
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    while len(optuna_study.get_trials(deepcopy=False, states=ended)) < study.n_trials:
        optuna_study.optimize(lambda trial: _mean_score(trial, study), n_trials=1)


def _optuna_study(study: Study, folder: Path, sampler_seed: int | None = None) -> optuna.Study:
    _journal(study, folder).parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=study.name,
        storage=JournalStorage(JournalFileBackend(str(_journal(study, folder)))),
        sampler=optuna.samplers.TPESampler(seed=sampler_seed, multivariate=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=study.n_unpruned),
        direction="maximize",
        load_if_exists=True,
    )


def _journal(study: Study, folder: Path) -> Path:
    return folder / f"{study.name}.journal"


def _mean_score(trial: optuna.Trial, study: Study) -> float:
    scores: list[float] = []
    for n_before, (seed, environment) in enumerate(study.runs(study.n_seeds)):
        scores.append(_score(study, study.space(trial, environment), seed, environment, TRIAL_SEEDS))
        trial.report(float(np.mean(scores)), n_before)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(scores))


def _timed_score(
    study: Study, settings: Settings, seed: int, environment: Environment, first_seed: int
) -> tuple[float, float]:
    start = time.perf_counter()
    return _score(study, settings, seed, environment, first_seed), time.perf_counter() - start


def _score(study: Study, settings: Settings, seed: int, environment: Environment, first_seed: int) -> float:
    """Score a run by the area under its curve; minus infinity if it diverged, for which learn() raises ValueError."""
    try:
        record = train(Job(environment, study.name, settings, seed), first_seed)
    except ValueError:
        return -np.inf
    area = area_under_curve(record.episode_ends, record.episode_returns, record.n_steps)
    return study.score(environment, area)


def _summary(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    means = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return {"number": trial.number, "state": trial.state.name, "params": trial.params, "running_means": means}
