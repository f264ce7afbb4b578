import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from benchmarks.learning import tuning
from benchmarks.learning.curves import area_under_curve
from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import Record
from benchmarks.learning.settings import Settings
from benchmarks.learning.suites import SUITES, Job
from benchmarks.learning.training import SEED_STRIDE, make_env, make_model, train
from benchmarks.learning.tuning import FINAL_SEEDS, STUDIES_OF, TRIAL_SEEDS, tune

SMALL = replace(
    STUDIES_OF["CartPole-v1"],
    environments=(replace(ENVIRONMENTS["CartPole-v1"], n_steps=300),),
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
    for environment in study.environments:
        settings = study.space(optuna_study.ask(), environment)
        assert Settings(**json.loads(json.dumps(vars(settings)))) == settings
        env = make_env(environment, settings, seed=0)
        make_model(environment, settings, env, seed=0)
        env.close()


@pytest.mark.parametrize("name", STUDIES_OF)
def test_guesses_can_be_suggested(name: str) -> None:
    study = STUDIES_OF[name]
    for guess in study.guesses:
        optuna_study = optuna.create_study()
        optuna_study.enqueue_trial(dict(guess))
        trial = optuna_study.ask()
        for environment in study.environments:
            study.space(trial, environment)
        assert trial.params.items() >= guess.items()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a2c_is_tuned_as_long_in_as_large_a_space(name: str) -> None:
    ours, theirs = STUDIES_OF[name], STUDIES_OF[f"a2c/{name}"]
    assert len(theirs.guesses[0]) >= len(ours.guesses[0])
    unlike = {"name": theirs.name, "space": theirs.space, "guesses": theirs.guesses}
    assert replace(ours, **unlike) == theirs


@pytest.mark.parametrize(("n_envs", "normalizes"), [(1, False), (4, True)])
def test_a2c_does_not_normalize_the_advantage_of_one_transition(n_envs: int, normalizes: bool) -> None:
    study = STUDIES_OF["a2c/Acrobot-v1"]
    optuna_study = optuna.create_study()
    optuna_study.enqueue_trial({**study.guesses[0], "n_envs": n_envs, "n_steps": 1, "normalize_advantage": True})
    settings = study.space(optuna_study.ask(), *study.environments)
    assert settings.arguments["normalize_advantage"] is normalizes


def test_studies_and_suites_have_different_seeds() -> None:
    n_seeds = max(environment.n_seeds for suite in SUITES.values() for environment in suite.environments)
    n_trial_seeds = max(max(study.n_seeds, study.n_final_seeds) for study in STUDIES_OF.values())
    assert SEED_STRIDE * n_seeds < TRIAL_SEEDS
    assert TRIAL_SEEDS + SEED_STRIDE * n_trial_seeds < FINAL_SEEDS


def test_study_chooses_the_best_finalist(tmp_path: Path) -> None:
    found = tune(SMALL, n_jobs=1, folder=tmp_path)
    assert json.loads((tmp_path / "CartPole-v1.json").read_text()) == found
    assert len(found["trials"]) == 3
    assert found["core_hours"] >= 0
    assert found["trials"][0]["params"]["gamma"] == 0.98, "the first guess is tried first"
    finalists = found["finalists"]
    assert [len(final["scores"]) for final in finalists] == [2, 2]
    assert len({score for final in finalists for score in final["scores"]}) > 1
    assert np.mean(found["best"]["scores"]) == max(np.mean(final["scores"]) for final in finalists)


def test_study_of_several_environments_averages_scaled_areas(tmp_path: Path) -> None:
    names = ("CartPole-v1", "Pendulum-v1")
    environments = tuple(replace(ENVIRONMENTS[name], n_steps=600) for name in names)
    general = STUDIES_OF["general"]
    study = replace(general, environments=environments, n_trials=1, n_seeds=1, n_finalists=1, n_final_seeds=1)
    found = tune(study, n_jobs=1, folder=tmp_path)
    scores = []
    for environment in environments:
        settings = Settings(**found["best"]["settings"][environment.name])
        record = train(Job(environment, "general", settings, seed=0), FINAL_SEEDS)
        low, high = general.ranges[environment.name]
        area = area_under_curve(record.episode_ends, record.episode_returns, record.n_steps)
        scores.append(min(max((area - low) / (high - low), -0.5), 1.0))
    assert found["best"]["scores"] == scores


def test_stopped_study_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, trained = replace(SMALL, n_trials=4), []

    def train_or_stop(job: Job, first_seed: int) -> Record:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(job)
        return train(job, first_seed)

    monkeypatch.setattr(tuning, "train", train_or_stop)
    with pytest.raises(KeyboardInterrupt):
        tune(study, n_jobs=1, folder=tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "CartPole-v1.json").exists()
    found = tune(study, n_jobs=1, folder=tmp_path)
    # another trial replaces the stopped one, and none is repeated
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert len({trial["params"]["learning_rate"] for trial in found["trials"]}) == 5
    assert found["trials"][0]["params"]["gamma"] == SMALL.guesses[0]["gamma"]
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
    assert found["best"]["settings"]["CartPole-v1"]["arguments"]["gamma"] != 0.98
