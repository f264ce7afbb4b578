import json
from pathlib import Path

import pytest

from benchmarks.learning.report.studies import load_studies


def test_study_is_summarised(tmp_path: Path) -> None:
    trials = [("COMPLETE", [10.0, 20.0, 30.0]), ("PRUNED", [10.0]), ("COMPLETE", [0.0, -float("inf")]), ("RUNNING", [])]
    finalists = [{"scores": [28.0, 30.0]}, {"scores": [20.0, 20.0]}]
    result = {
        "environments": {"CartPole-v1": 100_000},
        "core_hours": 1.5,
        "best": finalists[0],
        "finalists": finalists,
        "trials": [{"state": state, "running_means": means} for state, means in trials],
    }
    (tmp_path / "a2c").mkdir()
    (tmp_path / "a2c/CartPole-v1.json").write_text(json.dumps(result))
    (study,) = load_studies(tmp_path)
    assert (study.arm, study.environments, study.core_hours) == ("a2c-tuned", ("CartPole-v1",), 1.5)
    # six runs of the trials that ended, and four of the finalists
    assert (study.n_trials, study.n_runs, study.score) == (3, 10, 29.0)
    # the diverged trial counts as the worst one: of 30, 10 and 10
    assert study.best_of == pytest.approx([50 / 3, 70 / 3, 30])
