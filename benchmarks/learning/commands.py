"""The commands of the learning benchmark."""

import json
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from tqdm import tqdm

from benchmarks.learning import running
from benchmarks.learning.arms import ARMS, CONTRIB_ARMS
from benchmarks.learning.curves import area_under_curve, final_score
from benchmarks.learning.environments import ENVIRONMENTS, MASKED_ENVIRONMENTS, MEMORY_ENVIRONMENTS
from benchmarks.learning.records import load_all
from benchmarks.learning.report import pages
from benchmarks.learning.report.analysis import REPORTED, analyse, load_throughput, plan
from benchmarks.learning.running import Outcome
from benchmarks.learning.suites import RESULTS, SUITES, Job
from benchmarks.learning.tuning import STUDIES_OF, tune
from benchmarks.tables import markdown_table

app = typer.Typer()

Names = Annotated[str | None, typer.Option(help="Only these, separated by commas.")]
Runs = Annotated[Path | None, typer.Option(help="Folder of the records, the suite's own where nothing is said.")]
Backend = Annotated[
    Literal["processes", "dask"], typer.Option(help="Where: processes of this machine, or a dask cluster's workers.")
]


@app.command("list")
def list_all() -> None:
    """The suites and how many of their records are there, the arms, the environments."""
    suites = [
        [suite.name, suite.summary, f"{sum(running.is_recorded(job, suite.runs) for job in jobs)} of {len(jobs)}"]
        for suite in SUITES.values()
        for jobs in [suite.jobs()]
    ]
    arms = [[arm.name, arm.summary] for arm in (*ARMS.values(), *CONTRIB_ARMS.values())]
    environments = [
        [environment.name, f"{environment.n_steps:,}", str(environment.n_seeds), f"{environment.solved:g}"]
        for environment in (*ENVIRONMENTS.values(), *MEMORY_ENVIRONMENTS, *MASKED_ENVIRONMENTS)
    ]
    print(markdown_table(["suite", "what for", "records"], suites), end="\n\n")
    print(markdown_table(["arm", "what it is"], arms), end="\n\n")
    print(markdown_table(["environment", "steps", "seeds", "solved from"], environments))


@app.command("run")
def run_suite(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    arms: Names = None,
    envs: Names = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm on each environment.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side, each on one core.")] = 2,
    runs: Runs = None,
    backend: Backend = "processes",
    scheduler: Annotated[str | None, typer.Option(help="Address of the dask cluster's scheduler.")] = None,
) -> None:
    """Train the arms of a suite; what is finished already is skipped.

    One command at a time works on a folder of records: two would both train the runs that are left.
    """
    if suite not in SUITES:
        raise typer.BadParameter(f"{suite!r} is not one of {', '.join(SUITES)}", param_hint="SUITE")
    if (backend == "dask") != (scheduler is not None):
        raise typer.BadParameter("--backend dask and --scheduler ADDRESS need each other", param_hint="--scheduler")
    chosen = SUITES[suite]
    wanted = _chosen_jobs(chosen.jobs(seeds), arms, envs)
    folder = runs or chosen.runs
    try:
        failures = _show(*_started(wanted, folder, jobs, scheduler))
    except KeyboardInterrupt:
        print("\nStopped. What is finished stays: run the same command again to go on.", file=sys.stderr)
        raise typer.Exit(130) from None
    if failures:
        print(f"{len(failures)} runs failed: {', '.join(_name(outcome.job) for outcome in failures)}")
        print("Run the same command again to try them again.")
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
    _refuse_outdated(runs)
    if not records:
        raise typer.BadParameter(f"{runs} holds no records: make some with `run`", param_hint="--runs")
    found = analyse(records, list(ENVIRONMENTS.values()), plan(), load_throughput(throughput))
    print(*pages.write(found, output), sep="\n")


@app.command("scores")
def show_scores(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    runs: Runs = None,
) -> None:
    """Final scores and areas under the curve of a suite: medians over the runs, and all of them from worst to best."""
    if suite not in SUITES:
        raise typer.BadParameter(f"{suite!r} is not one of {', '.join(SUITES)}", param_hint="SUITE")
    chosen = SUITES[suite]
    rows = []
    for environment in chosen.environments:
        for arm in chosen.arms:
            records = [
                record
                for record in load_all(runs or chosen.runs)
                if (record.environment, record.arm) == (environment.name, arm.name)
            ]
            curves = [(record.episode_ends, record.episode_returns, record.n_steps) for record in records]
            scores = sorted(final_score(*curve) for curve in curves)
            areas = sorted(area_under_curve(*curve) for curve in curves)
            if curves:
                medians = [f"{np.median(scores):.4g}", f"{np.median(areas):.4g}"]
                listed = [", ".join(f"{figure:.4g}" for figure in figures) for figures in (scores, areas)]
                rows.append([environment.name, arm.name, *medians, *listed])
    header = ["environment", "arm", "final score", "area under the curve", "final scores", "areas"]
    print(markdown_table(header, rows))


def _refuse_outdated(runs: Path) -> None:
    try:
        for suite in REPORTED:
            running.unfinished(suite.jobs(), runs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--runs") from error


def _started(
    wanted: list[Job], folder: Path, n_jobs: int, scheduler: str | None
) -> tuple[list[Job], Generator[Outcome, None, None]]:
    """Give the jobs that are left, and how they end."""
    try:
        left = running.unfinished(wanted, folder)
        print(f"{len(wanted)} runs, {len(wanted) - len(left)} finished already; records in {folder}", flush=True)
        if scheduler is None or not left:
            return left, running.run(left, folder, n_jobs)
        # takes a second to import
        from benchmarks.learning import cluster

        return left, cluster.run(left, folder, scheduler)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def _show(jobs: list[Job], outcomes: Generator[Outcome, None, None]) -> list[Outcome]:
    """Show how jobs end: a bar on a terminal, and a line for each elsewhere.

    :return: those that failed
    """
    failures = []
    n_steps = sum(job.environment.n_steps for job in jobs)
    # the mean speed since the start: jobs end in clusters, which a moving mean would take for changes of speed
    with tqdm(total=n_steps, unit="step", unit_scale=True, smoothing=0, disable=None) as progress, closing(outcomes):
        for n_ended, outcome in enumerate(outcomes, start=1):
            progress.update(outcome.job.environment.n_steps)
            if outcome.seconds is None:
                failures.append(outcome)
                progress.write(f"{_name(outcome.job)} failed\n{outcome.error}")
            elif progress.disable:
                print(f"{n_ended} of {len(jobs)}: {_name(outcome.job)}, {outcome.seconds:.0f} s", flush=True)
    return failures


def _name(job: Job) -> str:
    return f"{job.environment.name} {job.arm} {job.seed}"


def _chosen_jobs(jobs: list[Job], arms: str | None, envs: str | None) -> list[Job]:
    chosen_arms = _chosen(arms, {job.arm for job in jobs}, "--arms")
    chosen_envs = _chosen(envs, {job.environment.name for job in jobs}, "--envs")
    return [job for job in jobs if job.arm in chosen_arms and job.environment.name in chosen_envs]


def _chosen(names: str | None, known: set[str], option: str) -> set[str]:
    chosen = known if names is None else set(names.split(","))
    for name in sorted(chosen - known):
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(sorted(known))}", param_hint=option)
    return chosen
