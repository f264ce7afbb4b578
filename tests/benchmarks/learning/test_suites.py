import subprocess
from pathlib import Path

import pytest

from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import path_of
from benchmarks.learning.suites import SUITES, Suite

ROOT = Path(__file__).parents[3]
suites = pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)


@suites
def test_every_job_has_its_own_file(suite: Suite) -> None:
    jobs = suite.jobs()
    paths = {path_of(suite.runs, job.environment.name, job.arm, job.seed) for job in jobs}
    assert len(paths) == len(jobs) > 0


@suites
def test_jobs_are_sorted_by_seed(suite: Suite) -> None:
    seeds = [job.seed for job in suite.jobs()]
    assert seeds == sorted(seeds)
    n_seeds = max(environment.n_seeds for environment in suite.environments)
    assert set(seeds) == set(range(suite.first_run, suite.first_run + n_seeds))
    assert suite.jobs(1) == [job for job in suite.jobs() if job.seed == suite.first_run]


def test_environments_have_at_least_ten_runs() -> None:
    assert ENVIRONMENTS["CartPole-v1"].n_seeds >= 20
    assert ENVIRONMENTS["CartPole-v1"].n_steps == 100_000
    assert all(environment.n_seeds >= 10 for environment in ENVIRONMENTS.values())


def test_arms_skip_unsupported_environments() -> None:
    found = {(job.environment.name, job.arm) for job in SUITES["main"].jobs(1)}
    assert ("CartPole-v1", "tda2c-double-softmax") in found
    assert ("Pendulum-v1", "tda2c-double-softmax") not in found


def test_fresh_seeds_are_those_of_no_other_run() -> None:
    fresh = SUITES["fresh"].jobs()
    assert {(job.environment.name, job.arm) for job in fresh} == {
        *(("LunarLander-v3", arm) for arm in ("tda2c-tuned", "a2c", "a2c-td0")),
        *(("MinAtar/Breakout-v1", arm) for arm in ("tda2c-tuned", "a2c")),
    }
    main = {(job.environment.name, job.arm, job.seed): job.settings for job in SUITES["main"].jobs()}
    for job in fresh:
        assert (job.environment.name, job.arm, job.seed) not in main
        assert job.settings == main[job.environment.name, job.arm, 0]


def test_smoke_records_are_ignored_by_git() -> None:
    smoke, *others = SUITES.values()
    assert smoke.name == "smoke"
    assert all(suite.runs != smoke.runs for suite in others)
    assert subprocess.run(["git", "check-ignore", "-q", str(smoke.runs / "x")], cwd=ROOT).returncode == 0


def test_suites_share_the_runs_of_an_arm() -> None:
    main, ablation = SUITES["main"], SUITES["ablation"]
    assert main.runs == ablation.runs
    of_main = {(job.environment.name, job.arm, job.seed): job for job in main.jobs()}
    shared = [job for job in ablation.jobs() if (job.environment.name, job.arm, job.seed) in of_main]
    assert shared
    assert all(job == of_main[job.environment.name, job.arm, job.seed] for job in shared)
