"""The commands of the learning benchmark."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from benchmarks.learning import running
from benchmarks.learning.environments import ENVIRONMENTS
from benchmarks.learning.records import load_all
from benchmarks.learning.report import pages
from benchmarks.learning.report.analysis import analyse, load_throughput, plan
from benchmarks.learning.suites import RESULTS, SUITES, Job
from benchmarks.learning.tuning import STUDIES_OF, tune

app = typer.Typer()

Names = Annotated[str | None, typer.Option(help="Only these, separated by commas.")]
Runs = Annotated[Path | None, typer.Option(help="Folder of the records, the suite's own where nothing is said.")]


@app.command("run")
def run_suite(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    arms: Names = None,
    envs: Names = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm on each environment.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side, each on one core.")] = 2,
    runs: Runs = None,
) -> None:
    """Train the arms of a suite; what is finished already is skipped."""
    if suite not in SUITES:
        raise typer.BadParameter(f"{suite!r} is not one of {', '.join(SUITES)}", param_hint="SUITE")
    chosen = SUITES[suite]
    wanted = chosen.jobs(seeds)
    chosen_arms = _chosen(arms, {job.arm for job in wanted}, "--arms")
    chosen_envs = _chosen(envs, {job.environment.name for job in wanted}, "--envs")
    wanted = [job for job in wanted if job.arm in chosen_arms and job.environment.name in chosen_envs]
    folder = runs or chosen.runs
    left = running.unfinished(wanted, folder)
    print(f"{len(wanted)} runs, {len(wanted) - len(left)} finished already; records in {folder}")
    failures = []
    with tqdm(total=sum(job.environment.n_steps for job in left), unit="step", unit_scale=True) as progress:
        for outcome in running.run(left, folder, jobs):
            progress.update(outcome.job.environment.n_steps)
            if outcome.error is not None:
                failures.append(outcome)
                progress.write(f"{_name(outcome.job)} failed\n{outcome.error}")
    if failures:
        print(f"{len(failures)} runs failed: {', '.join(_name(outcome.job) for outcome in failures)}")
        raise typer.Exit(1)


@app.command("tune")
def tune_arm(
    env: Annotated[str, typer.Argument(help=f"One of {', '.join(STUDIES_OF)}.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Settings that are tried.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials side by side, each on one core.")] = 2,
) -> None:
    """Look for the settings of tda2c-tuned on an environment, with Optuna; a stopped study goes on."""
    if env not in STUDIES_OF:
        raise typer.BadParameter(f"{env!r} is not one of {', '.join(STUDIES_OF)}", param_hint="ENV")
    study = STUDIES_OF[env]
    best = tune(study if trials is None else replace(study, n_trials=trials), jobs)["best"]
    print(f"Trial {best['trial']}, mean area under the curve {np.mean(best['areas']):.1f}")
    print(json.dumps(best["settings"], indent=1))


@app.command("report")
def write_report(
    runs: Annotated[Path, typer.Option(help="Folder of the records.")] = RESULTS / "runs",
    throughput: Annotated[Path, typer.Option(help="What `throughput` saved; it may be missing.")] = RESULTS
    / "throughput-cpu.json",
    output: Annotated[Path, typer.Option(help="Folder for the pages and their figures.")] = Path("docs"),
) -> None:
    """Say what the records show: benchmarks.md, report.html and figures."""
    records = list(load_all(runs))
    if not records:
        raise typer.BadParameter(f"{runs} holds no records: make some with `run`", param_hint="--runs")
    found = analyse(records, list(ENVIRONMENTS.values()), plan(), load_throughput(throughput))
    print(*pages.write(found, output), sep="\n")


def _name(job: Job) -> str:
    return f"{job.environment.name} {job.arm} {job.seed}"


def _chosen(names: str | None, known: set[str], option: str) -> set[str]:
    chosen = known if names is None else set(names.split(","))
    for name in sorted(chosen - known):
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(sorted(known))}", param_hint=option)
    return chosen
