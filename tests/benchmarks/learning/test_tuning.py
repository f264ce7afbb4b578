import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from benchmarks.learning import tuning
from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import Record
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import SUITES, Job
from benchmarks.learning.training import SEED_STRIDE, make_env, make_model, train
from benchmarks.learning.tuning import FINAL_SEEDS, STUDIES_OF, TRIAL_SEEDS, Study, first_guess, suggest, tune

SMALL = Study(
    replace(ENVIRONMENTS["CartPole-v1"], n_steps=300),
    n_envs=(1, 2),
    n_trials=3,
    n_seeds=2,
    n_finalists=2,
    n_final_seeds=2,
)


@pytest.mark.parametrize("name", STUDIES_OF)
def test_suggested_settings_make_a_model(name: str) -> None:
    study = STUDIES_OF[name]
    sampler = optuna.samplers.RandomSampler(seed=1)
    optuna_study = optuna.create_study(sampler=sampler)
    for _ in range(3):
        settings = suggest(optuna_study.ask(), study)
        assert Settings(**json.loads(json.dumps(vars(settings)))) == settings
        env = make_env(study.environment, settings, seed=0)
        make_model(study.environment, settings, env, seed=0)
        env.close()


@pytest.mark.parametrize("name", STUDIES_OF)
def test_first_guess_can_be_suggested(name: str) -> None:
    optuna_study = optuna.create_study()
    guess = first_guess(STUDIES_OF[name])
    optuna_study.enqueue_trial(guess)
    trial = optuna_study.ask()
    suggest(trial, STUDIES_OF[name])
    assert trial.params.items() >= guess.items()


def test_studies_and_suites_have_different_seeds() -> None:
    n_seeds = max(environment.n_seeds for suite in SUITES.values() for environment in suite.environments)
    n_trial_seeds = max(max(study.n_seeds, study.n_final_seeds) for study in STUDIES_OF.values())
    assert SEED_STRIDE * n_seeds < TRIAL_SEEDS
    assert TRIAL_SEEDS + SEED_STRIDE * n_trial_seeds < FINAL_SEEDS


def test_study_chooses_the_best_finalist(tmp_path: Path) -> None:
    found = tune(SMALL, n_jobs=1, folder=tmp_path)
    assert json.loads((tmp_path / "CartPole-v1.json").read_text()) == found
    assert len(found["trials"]) == 3
    assert found["trials"][0]["params"]["gamma"] == 0.98, "the first guess is tried first"
    finalists = found["finalists"]
    assert [len(final["areas"]) for final in finalists] == [2, 2]
    assert len({area for final in finalists for area in final["areas"]}) > 1
    assert np.mean(found["best"]["areas"]) == max(np.mean(final["areas"]) for final in finalists)


def test_stopped_study_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def train_or_stop(job: Job, first_seed: int) -> Record:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(job)
        return train(job, first_seed)

    monkeypatch.setattr(tuning, "train", train_or_stop)
    with pytest.raises(KeyboardInterrupt):
        tune(SMALL, n_jobs=1, folder=tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "CartPole-v1.json").exists()
    found = tune(SMALL, n_jobs=1, folder=tmp_path)
    # another trial replaces the stopped one
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found["trials"][0]["params"]["gamma"] == first_guess(SMALL)["gamma"]
    assert list(tmp_path.iterdir()) == [tmp_path / "CartPole-v1.json"], "the journal is for unfinished studies"


def test_finished_study_is_not_repeated(tmp_path: Path) -> None:
    first = tune(replace(SMALL, n_trials=1), n_jobs=1, folder=tmp_path)
    assert tune(replace(SMALL, n_trials=1), n_jobs=1, folder=tmp_path) == first
    assert list(tmp_path.iterdir()) == [tmp_path / "CartPole-v1.json"]


def test_diverging_settings_are_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_or_diverge(job: Job, first_seed: int) -> Record:
        if job.settings.arguments["gamma"] == 0.98:
            raise ValueError("the loss is not finite")
        return train(job, first_seed)

    monkeypatch.setattr(tuning, "train", train_or_diverge)
    found = tune(SMALL, n_jobs=1, folder=tmp_path)
    assert found["trials"][0]["running_means"][0] == -np.inf
    assert found["best"]["settings"]["arguments"]["gamma"] != 0.98
