"""The studies behind ``tda2c-tuned``: Optuna looks for one setting an environment, on seeds of its own.

A trial is the mean area under the curve over some runs; one that falls behind the median of the others is cut short.
The best of many trials is partly lucky, so the best few run again, on seeds that none has seen, and the best of these
is taken. No run of the suites has any of these seeds.
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
"""seed of a trial's first run; a suite's are far below"""
FINAL_SEEDS = 2_000_000
"""seed of a finalist's first run"""


@dataclass(frozen=True)
class Study:
    """What is spent on finding an environment's settings.

    :param environment: the environment
    :param n_envs: numbers of environments side by side to choose from
    :param n_trials: settings that are tried
    :param n_seeds: runs of each
    :param n_finalists: settings that run again
    :param n_final_seeds: runs of each of these
    """

    environment: Environment
    n_envs: tuple[int, ...] = (1, 4, 8)
    n_trials: int = 40
    n_seeds: int = 3
    n_finalists: int = 3
    n_final_seeds: int = 6


STUDIES_OF = {name: Study(environment) for name, environment in ENVIRONMENTS.items()} | {
    "CartPole-v1": Study(ENVIRONMENTS["CartPole-v1"], n_envs=(1,)),
    # a run takes a minute
    "Hopper-v5": Study(ENVIRONMENTS["Hopper-v5"], n_trials=24),
    # several; a first study, with 8 or 16 environments side by side and so fewer updates, found less
    "MinAtar/Breakout-v1": Study(ENVIRONMENTS["MinAtar/Breakout-v1"], n_envs=(1, 2, 4), n_trials=24),
}


def first_guess(study: Study) -> dict[str, Any]:
    """Give what is tried first everywhere, by :func:`suggest`'s names; what is left out is drawn."""
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
    """Draw settings: TDA2C's arguments, how many environments, and what VecNormalize does."""
    env = study.environment.make()
    env.close()
    n_actions = env.action_space.shape[0] if isinstance(env.action_space, spaces.Box) else 0
    arguments = sample_tda2c_params(trial, n_actions, max(study.n_envs), {})
    # by its name, as a file holds it
    arguments["policy_kwargs"]["activation_fn"] = trial.params["activation_fn"]
    normalizes = trial.suggest_categorical("normalizes", [None, "observations", "both"])
    return Settings(
        "TDA2C",
        n_envs=trial.suggest_categorical("n_envs", list(study.n_envs)),
        normalize=None if normalizes is None else {"norm_reward": normalizes == "both"},
        arguments=arguments,
    )


def tune(study: Study, n_jobs: int, folder: Path = STUDIES) -> dict[str, Any]:
    """Carry a study out, or on where it was stopped, and write what it found.

    :param study: the study
    :param n_jobs: trials side by side
    :param folder: folder for what it found, and for the journal of its trials while it is not finished; a study that is
        finished there is not made again
    :return: what is written: the best settings, the finalists, all trials
    """
    path = study_path(folder, study.environment)
    if path.exists() and len((found := json.loads(path.read_text()))["trials"]) >= study.n_trials:
        return found  # type: ignore[no-any-return]
    _optuna_study(study, folder).enqueue_trial(first_guess(study), skip_if_exists=True)
    joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_search)(study, folder, sampler_seed) for sampler_seed in range(n_jobs)
    )
    trials = _optuna_study(study, folder).trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    finalists = sorted(complete, key=lambda trial: -trial.values[0])[: study.n_finalists]
    areas = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_area)(study, Settings(**trial.user_attrs["settings"]), seed, FINAL_SEEDS)
        for trial in finalists
        for seed in range(study.n_final_seeds)
    )
    finals = [
        {"trial": trial.number, "settings": trial.user_attrs["settings"], "areas": list(areas_of_one)}
        for trial, areas_of_one in zip(finalists, np.reshape(areas, (len(finalists), -1)).tolist(), strict=True)
    ]
    found = {
        "environment": study.environment.name,
        "n_steps": study.environment.n_steps,
        "best": max(finals, key=lambda final: np.mean(final["areas"])),
        "finalists": finals,
        "trials": [_summary(trial) for trial in trials],
    }
    write(f"{json.dumps(found, indent=1)}\n".encode(), path)
    _journal(study, folder).unlink()
    return found


def _search(study: Study, folder: Path, sampler_seed: int) -> None:
    optuna_study = _optuna_study(study, folder, sampler_seed)
    # a trial that was stopped has failed, and does not count
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
    """Give the area under the curve of a run; minus infinity where it diverged, of which learn() says ValueError."""
    try:
        record = train(Job(study.environment, "tda2c-tuned", settings, seed), first_seed)
    except ValueError:
        return -np.inf
    return area_under_curve(record.episode_ends, record.episode_returns, record.n_steps)


def _summary(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    means = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return {"number": trial.number, "state": trial.state.name, "params": trial.params, "running_means": means}
