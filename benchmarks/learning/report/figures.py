"""Figures of the report, legible on a page and on a phone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.learning.arms import label
from benchmarks.learning.report.findings import Band, EnvironmentFindings, Findings, Overview, StudyFindings
from benchmarks.learning.report.overview import RANDOM, REFERENCE, TUNED, TUNED_A2C
from benchmarks.learning.statistics import Estimate
from benchmarks.speed import throughput

# the colour-blind can distinguish Okabe & Ito's colours; every arm also has its own line style
LINE_STYLES: Mapping[str, Mapping[str, Any]] = {
    "tda2c-general": {"color": "#0072b2", "linestyle": "-", "linewidth": 2.8},
    "tda2c-tuned": {"color": "#0072b2", "linestyle": "--", "linewidth": 2.0},
    "tda2c-tuned-first": {"color": "#0072b2", "linestyle": ":"},
    "tda2c": {"color": "#56b4e9", "linestyle": "-", "linewidth": 2.0},
    "tda2c-double-softmax": {"color": "#cc79a7", "linestyle": ":", "linewidth": 2.4},
    "a2c": {"color": "#d55e00", "linestyle": "-", "linewidth": 2.0},
    "a2c-tuned": {"color": "#d55e00", "linestyle": "--"},
    "a2c-tuned-first": {"color": "#e69f00", "linestyle": ":"},
    "a2c-matched": {"color": "#d55e00", "linestyle": ":"},
    "a2c-zoo": {"color": "#e69f00", "linestyle": "--"},
    "a2c-td0": {"color": "#009e73", "linestyle": "-."},
    "ppo": {"color": "#000000", "linestyle": "-", "linewidth": 2.0},
    "ppo-zoo": {"color": "#000000", "linestyle": ":"},
}
"""line style of each arm in all figures"""
WIDTH = 6.4
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 10,
    # a fixed salt for the ids in a file, so that equal figures have equal files
    "svg.hashsalt": "benchmarks",
}


def draw_all(findings: Findings) -> dict[str, Figure]:
    """Draw all figures of the report.

    :param findings: the findings
    :return: figures by file name without suffix
    """
    with mpl.rc_context(STYLE):
        figures = {}
        if findings.overview.over_steps:
            figures["overview"] = overview(findings.overview)
        for each in findings.environments:
            if each.curves:
                figures[f"curves-{file_name(each)}"] = curves(each)
            if each.ablations:
                figures[f"ablation-{file_name(each)}"] = ablations(each)
        compared = compared_studies(findings)
        if compared:
            figures["studies"] = studies(compared)
        if findings.throughput:
            figures["throughput"] = throughput.draw(findings.throughput)
        return figures


def save(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as SVG and PNG. Equal figures have equal bytes.

    :param figures: figures by file name without suffix
    :param folder: the folder
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})


def file_name(findings: EnvironmentFindings) -> str:
    """Return the environment's name as a part of a file name."""
    return findings.environment.name.replace("/", "-")


def curves(findings: EnvironmentFindings) -> Figure:
    """Draw the learning curves of the main arms on an environment, with their intervals."""
    figure, axes = _figure(height=5.4)
    _draw_bands(axes, findings.curves)
    environment = findings.environment
    low, high = axes.get_ylim()
    # a line far above the curves would compress them
    if environment.solved <= high + 0.3 * (high - low):
        axes.axhline(environment.solved, color="grey", linewidth=1, linestyle=(0, (8, 4)), label="solved")
    for result in findings.results:
        if result.arm == RANDOM:
            axes.axhline(result.area.value, color="grey", linewidth=1, label="random actions")
    axes.set_xlim(0, environment.n_steps)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(title=environment.name, xlabel="environment steps", ylabel="return")
    _legend_below(figure, ncols=2)
    return figure


def overview(found: Overview) -> Figure:
    """Draw the learning curves over the held-out environments together, over steps and over seconds."""
    figure = Figure(figsize=(1.5 * WIDTH, 4.4), layout="constrained")
    over_steps, over_seconds = figure.subplots(1, 2, sharey=True)
    _draw_bands(over_steps, found.over_steps)
    _draw_bands(over_seconds, found.over_seconds, labelled=False)
    over_steps.set_xlim(0, found.over_steps[0].at[-1])
    over_steps.locator_params(axis="x", nbins=5)
    # the last label of one panel must not touch the first of the other
    over_steps.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
    over_seconds.set_xscale("log")
    over_seconds.xaxis.set_major_formatter("{x:,.0f}")
    over_seconds.set_xlim(found.over_seconds[0].at[0], found.over_seconds[0].at[-1])
    over_steps.set(xlabel="environment steps", ylabel="normalised return")
    over_seconds.set(xlabel="seconds")
    _legend_below(figure, ncols=4)
    return figure


def compared_studies(findings: Findings) -> dict[str, list[StudyFindings]]:
    """Return the studies of TDA2C and of A2C by environment, where there are both."""
    by_environment: dict[str, list[StudyFindings]] = {}
    for study in findings.studies:
        if study.arm in (TUNED, TUNED_A2C):
            by_environment.setdefault(study.environments[0], []).append(study)
    return {name: both for name, both in by_environment.items() if len(both) == 2}


def studies(compared: Mapping[str, Sequence[StudyFindings]]) -> Figure:
    """Draw the expected score of the best of k trials of each study, a panel per environment."""
    n_columns = min(3, len(compared))
    n_rows = math.ceil(len(compared) / n_columns)
    figure = Figure(figsize=(0.5 * WIDTH * n_columns, 0.6 + 2.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flat
    for panel, (name, both) in zip(panels, compared.items(), strict=False):
        for study in both:
            in_legend = label(study.arm) if panel is figure.axes[0] else None
            panel.plot(np.arange(1, study.n_trials + 1), study.best_of, label=in_legend, **LINE_STYLES[study.arm])
        panel.set(title=name, xlabel="trials", ylabel="area")
    for unused in figure.axes[len(compared) :]:
        unused.set_axis_off()
    _legend_below(figure, ncols=n_columns)
    return figure


def ablations(findings: EnvironmentFindings) -> Figure:
    """Draw the effect of each change to the reference settings on an environment, as a forest plot."""
    figure, axes = _figure(height=1.3 + 0.36 * len(findings.ablations))
    axes.axvline(0, color="black", linewidth=1)
    estimates = {float(row): ablation.difference for row, ablation in enumerate(findings.ablations)}
    _draw_estimates(axes, estimates, LINE_STYLES["tda2c-tuned"]["color"], "o")
    _label_rows(axes, [f"{a.arm.removeprefix(f'{REFERENCE}-')} ({a.n_runs})" for a in findings.ablations])
    axes.set_title(findings.environment.name)
    axes.set_xlabel(f"area under the curve, minus that of {REFERENCE}")
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _draw_bands(axes: Axes, bands: Sequence[Band], labelled: bool = True) -> None:
    for band in bands:
        style = LINE_STYLES[band.arm]
        in_legend = f"{label(band.arm)} ({band.n_runs})" if labelled else None
        axes.fill_between(band.at, band.low, band.high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(band.at, band.value, label=in_legend, **style)


def _draw_estimates(axes: Axes, estimates: Mapping[float, Estimate], color: str, marker: str) -> None:
    """Draw estimates with their intervals, by height."""
    if estimates:
        values = [estimate.value for estimate in estimates.values()]
        lows = [estimate.low for estimate in estimates.values()]
        highs = [estimate.high for estimate in estimates.values()]
        axes.hlines(list(estimates), lows, highs, color=color, linewidth=2)
        axes.plot(values, list(estimates), marker, color=color, clip_on=False)


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _legend_below(figure: Figure, ncols: int) -> None:
    figure.legend(loc="outside lower center", ncols=ncols, handlelength=2.6, columnspacing=1.2)
