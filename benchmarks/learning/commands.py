"""Commands of the learning benchmark."""

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
from benchmarks.learning.arms import ARMS, CONTRIB_ARMS, GENERAL_VARIANTS, MATCHED_ARMS
from benchmarks.learning.curves import area_under_curve, final_score
from benchmarks.learning.environments import MASKED_ENVIRONMENTS, PARTIALLY_OBSERVED_ENVIRONMENTS
from benchmarks.learning.records import Record, load_all
from benchmarks.learning.report import pages
from benchmarks.learning.report.analysis import FRESH, REPORTED, analyse_folder, reported_environments
from benchmarks.learning.running import Outcome
from benchmarks.learning.suites import RESULTS, SUITES, Job
from benchmarks.learning.tuning import STUDIES_OF, tune
from benchmarks.tables import markdown_table

app = typer.Typer()

Names = Annotated[str | None, typer.Option(help="Run only these, separated by commas.")]
Runs = Annotated[Path | None, typer.Option(help="Folder of the records; by default the suite's.")]
Backend = Annotated[
    Literal["processes", "dask"], typer.Option(help="Train in processes on this machine or on a dask cluster.")
]


@app.command("list")
def list_all() -> None:
    """List the suites with their finished runs, the arms, and the environments."""
    suites = [
        [suite.name, suite.summary, f"{sum(running.is_recorded(job, suite.runs) for job in jobs)} of {len(jobs)}"]
        for suite in SUITES.values()
        for jobs in [suite.jobs()]
    ]
    arms = [
        [arm.name, arm.summary]
        for arm in (*ARMS.values(), *MATCHED_ARMS.values(), *GENERAL_VARIANTS.values(), *CONTRIB_ARMS.values())
    ]
    environments = [
        [environment.name, f"{environment.n_steps:,}", str(environment.n_seeds), f"{environment.solved:g}"]
        for environment in (*reported_environments(), *PARTIALLY_OBSERVED_ENVIRONMENTS, *MASKED_ENVIRONMENTS)
    ]
    print(markdown_table(["suite", "description", "records"], suites), end="\n\n")
    print(markdown_table(["arm", "description"], arms), end="\n\n")
    print(markdown_table(["environment", "steps", "seeds", "solved from"], environments))


@app.command("run")
def run_suite(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    arms: Names = None,
    envs: Names = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm on each environment.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of parallel processes, each on one core.")] = 2,
    runs: Runs = None,
    backend: Backend = "processes",
    scheduler: Annotated[str | None, typer.Option(help="Address of the dask cluster's scheduler.")] = None,
) -> None:
    """Train the arms of a suite. Finished runs are skipped.

    Use a folder of records with one command at a time: two would train the same runs.
    """
    if suite not in SUITES:
        raise typer.BadParameter(f"{suite!r} is not one of {', '.join(SUITES)}", param_hint="SUITE")
    if (backend == "dask") != (scheduler is not None):
        raise typer.BadParameter("use --backend dask together with --scheduler ADDRESS", param_hint="--scheduler")
    chosen = SUITES[suite]
    wanted = _chosen_jobs(chosen.jobs(seeds), arms, envs)
    folder = runs or chosen.runs
    try:
        failures = _show(*_started(wanted, folder, jobs, scheduler))
    except KeyboardInterrupt:
        print("\nStopped. Finished runs are kept; run the same command again to continue.", file=sys.stderr)
        raise typer.Exit(130) from None
    if failures:
        print(f"{len(failures)} runs failed: {', '.join(_name(outcome.job) for outcome in failures)}")
        print("Run the same command again to retry them.")
        raise typer.Exit(1)


@app.command("tune")
def run_study(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STUDIES_OF)}.", metavar="STUDY")],
    trials: Annotated[int | None, typer.Option(min=1, help="Number of settings to try.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of parallel trials, each on one core.")] = 2,
) -> None:
    """Tune TDA2C or A2C for an environment, or TDA2C for many, with Optuna. A stopped study is resumed."""
    if name not in STUDIES_OF:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(STUDIES_OF)}", param_hint="STUDY")
    study = STUDIES_OF[name]
    best = tune(study if trials is None else replace(study, n_trials=trials), jobs)["best"]
    print(f"Trial {best['trial']}, mean score {np.mean(best['scores']):.4g}")
    print(json.dumps(best["settings"], indent=1))


@app.command("report")
def write_report(
    results: Annotated[Path, typer.Option(help="Folder of the records, studies and speeds.")] = RESULTS,
    output: Annotated[Path, typer.Option(help="Folder of the pages and their figures.")] = Path("docs"),
) -> None:
    """Write the report: benchmarks.md, benchmark_details.md, report.html and figures."""
    _refuse_outdated(results)
    findings = analyse_folder(results)
    if not findings.environments:
        raise typer.BadParameter(f"{results} has no records: train a suite with `run` first", param_hint="--results")
    print(*pages.write(findings, output), sep="\n")


@app.command("scores")
def show_scores(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    runs: Runs = None,
) -> None:
    """Show final scores and areas under the curve of a suite: medians, and all runs from worst to best."""
    if suite not in SUITES:
        raise typer.BadParameter(f"{suite!r} is not one of {', '.join(SUITES)}", param_hint="SUITE")
    chosen = SUITES[suite]
    records = list(load_all(runs or chosen.runs))
    rows = []
    for environment in chosen.environments:
        for arm in chosen.arms:
            of_arm = [each for each in records if (each.environment, each.arm) == (environment.name, arm.name)]
            if of_arm:
                rows.append([environment.name, arm.name, *_score_cells(of_arm)])
    header = ["environment", "arm", "final score", "area under the curve", "final scores", "areas"]
    print(markdown_table(header, rows))


def _score_cells(records: list[Record]) -> list[str]:
    """Format the medians of the final scores and of the areas, then all of both."""
    curves = [(record.episode_ends, record.episode_returns, record.n_steps) for record in records]
    metrics = [sorted(metric(*curve) for curve in curves) for metric in (final_score, area_under_curve)]
    medians = [f"{np.median(values):.4g}" for values in metrics]
    return medians + [", ".join(f"{value:.4g}" for value in values) for values in metrics]


def _refuse_outdated(results: Path) -> None:
    try:
        for suite in (*REPORTED, FRESH):
            running.unfinished(suite.jobs(), results / suite.runs.name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--results") from error


def _started(
    wanted: list[Job], folder: Path, n_jobs: int, scheduler: str | None
) -> tuple[list[Job], Generator[Outcome, None, None]]:
    """Start the jobs without a record; return these and the iterator of their outcomes."""
    try:
        unfinished = running.unfinished(wanted, folder)
        n_finished = len(wanted) - len(unfinished)
        print(f"{len(wanted)} runs, {n_finished} finished already; records in {folder}", flush=True)
        if scheduler is None or not unfinished:
            return unfinished, running.run(unfinished, folder, n_jobs)
        # takes a second to import
        from benchmarks.learning import cluster

        return unfinished, cluster.run(unfinished, folder, scheduler)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def _show(jobs: list[Job], outcomes: Generator[Outcome, None, None]) -> list[Outcome]:
    """Show progress: a bar on a terminal, otherwise a line per job.

    :return: the failed jobs
    """
    failures = []
    n_steps = sum(job.environment.n_steps for job in jobs)
    # smoothing=0 is the mean speed since the start; jobs end in clusters, which a moving mean would show as jumps
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
