"""Studies for the settings of ``tda2c-tuned``: Optuna tunes TDA2C for each environment.

The score of a trial is the mean area under the curve of several runs. A trial below the median of the others is pruned.
The best of many trials is partly lucky, so the best few are run again on new seeds, and the best of these is chosen. No
run of the suites uses any of these seeds.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import optuna
from gymnasium import spaces
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.learning.arms import STUDIES, study_path
from benchmarks.learning.curves import area_under_curve
from benchmarks.learning.environments import ENVIRONMENTS, Environment
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import Job
from benchmarks.learning.training import train
from sb3_a2c_td.hyperparams.search_space import sample_tda2c_params
from sb3_a2c_td.saving.atomic import write

TRIAL_SEEDS = 1_000_000
"""seed of a trial's first run; those of the suites are far below"""
FINAL_SEEDS = 2_000_000
"""seed of a finalist's first run"""


@dataclass(frozen=True)
class Study:
    """Budget of the study of an environment.

    :param environment: the environment
    :param n_envs: numbers of parallel environments to choose from
    :param n_trials: number of settings to try
    :param n_seeds: runs of each trial
    :param n_finalists: number of settings to run again
    :param n_final_seeds: runs of each finalist
    """

    environment: Environment
    n_envs: tuple[int, ...] = (1, 4, 8)
    n_trials: int = 40
    n_seeds: int = 3
    n_finalists: int = 3
    n_final_seeds: int = 6


STUDIES_OF = {name: Study(environment) for name, environment in ENVIRONMENTS.items()} | {
    "CartPole-v1": Study(ENVIRONMENTS["CartPole-v1"], n_envs=(1,)),
    # fewer trials, since a run takes a minute
    "Hopper-v5": Study(ENVIRONMENTS["Hopper-v5"], n_trials=24),
    # a run takes minutes. A first study with 8 or 16 environments, and so fewer updates, found worse settings
    "MinAtar/Breakout-v1": Study(ENVIRONMENTS["MinAtar/Breakout-v1"], n_envs=(1, 2, 4), n_trials=24),
}


def first_guess(study: Study) -> dict[str, Any]:
    """Return the parameters of the first trial; Optuna samples those that are missing.

    :param study: the study
    :return: parameters, named as in :func:`suggest`
    """
    return {
        "learning_rate": 1e-3,
        "critic_rate_ratio": 1.0,
        "decays": False,
        "activation_fn": "Tanh",
        "width": 64,
        "ortho_init": True,
        "gamma": 0.98,
        "n_steps": 5,
        "reward_scale": 1.0,
        "ent_coef": 1e-6,
        "max_grad_norm": None,
        "normalize_advantage": False,
        "normalizes": None,
        "n_envs": study.n_envs[0],
    }


def suggest(trial: optuna.Trial, study: Study) -> Settings:
    """Sample settings: TDA2C's arguments, the number of environments, and VecNormalize.

    :param trial: the trial
    :param study: its study
    """
    env = study.environment.make()
    env.close()
    n_actions = env.action_space.shape[0] if isinstance(env.action_space, spaces.Box) else 0
    arguments = sample_tda2c_params(trial, n_actions, max(study.n_envs), {})
    # a name instead of the class, for JSON
    arguments["policy_kwargs"]["activation_fn"] = trial.params["activation_fn"]
    normalizes = trial.suggest_categorical("normalizes", [None, "observations", "both"])
    return Settings(
        "TDA2C",
        n_envs=trial.suggest_categorical("n_envs", list(study.n_envs)),
        normalize=None if normalizes is None else {"norm_reward": normalizes == "both"},
        arguments=arguments,
    )


def tune(study: Study, n_jobs: int, folder: Path = STUDIES) -> dict[str, Any]:
    """Run or resume a study, and write its result. A finished study is not repeated.

    :param study: the study
    :param n_jobs: number of parallel trials
    :param folder: folder of the result, and of the trials' journal until the study is finished
    :return: the result as written: the best settings, the finalists, and all trials
    """
    path = study_path(folder, study.environment)
    finished = _finished_study(path, study.n_trials)
    if finished is not None:
        return finished
    _optuna_study(study, folder).enqueue_trial(first_guess(study), skip_if_exists=True)
    joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_search)(study, folder, sampler_seed) for sampler_seed in range(n_jobs)
    )
    trials = _optuna_study(study, folder).trials
    finalists = _finalists(study, trials, n_jobs)
    result = {
        "environment": study.environment.name,
        "n_steps": study.environment.n_steps,
        "best": max(finalists, key=lambda finalist: np.mean(finalist["areas"])),
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


def _finalists(study: Study, trials: list[optuna.trial.FrozenTrial], n_jobs: int) -> list[dict[str, Any]]:
    """Run the best trials again, on new seeds."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: -trial.values[0])[: study.n_finalists]
    areas = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_area)(study, Settings(**trial.user_attrs["settings"]), seed, FINAL_SEEDS)
        for trial in best
        for seed in range(study.n_final_seeds)
    )
    areas_by_trial = np.reshape(areas, (len(best), -1)).tolist()
    return [
        {"trial": trial.number, "settings": trial.user_attrs["settings"], "areas": trial_areas}
        for trial, trial_areas in zip(best, areas_by_trial, strict=True)
    ]


def _search(study: Study, folder: Path, sampler_seed: int) -> None:
    optuna_study = _optuna_study(study, folder, sampler_seed)
    # an interrupted trial has failed and does not count
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    while len(optuna_study.get_trials(deepcopy=False, states=ended)) < study.n_trials:
        optuna_study.optimize(lambda trial: _mean_area(trial, study), n_trials=1)


def _optuna_study(study: Study, folder: Path, sampler_seed: int | None = None) -> optuna.Study:
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=study.environment.name,
        storage=JournalStorage(JournalFileBackend(str(_journal(study, folder)))),
        sampler=optuna.samplers.TPESampler(seed=sampler_seed, multivariate=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8),
        direction="maximize",
        load_if_exists=True,
    )


def _journal(study: Study, folder: Path) -> Path:
    return study_path(folder, study.environment).with_suffix(".journal")


def _mean_area(trial: optuna.Trial, study: Study) -> float:
    settings = suggest(trial, study)
    trial.set_user_attr("settings", asdict(settings))
    areas: list[float] = []
    for seed in range(study.n_seeds):
        areas.append(_area(study, settings, seed, TRIAL_SEEDS))
        trial.report(float(np.mean(areas)), seed)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(areas))


def _area(study: Study, settings: Settings, seed: int, first_seed: int) -> float:
    """Return the area under the curve of a run; minus infinity if it diverged, for which learn() raises ValueError."""
    try:
        record = train(Job(study.environment, "tda2c-tuned", settings, seed), first_seed)
    except ValueError:
        return -np.inf
    return area_under_curve(record.episode_ends, record.episode_returns, record.n_steps)


def _summary(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    means = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return {"number": trial.number, "state": trial.state.name, "params": trial.params, "running_means": means}
