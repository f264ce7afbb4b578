"""Figures of the report, legible on a page and on a phone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.learning.report.analysis import BASELINES, OWN_ARMS, RANDOM, REFERENCE_ARM, TUNED_ARM
from benchmarks.learning.report.findings import MIN_IMPROVEMENT, Band, EnvironmentFindings, Findings
from benchmarks.learning.statistics import Estimate
from benchmarks.speed import throughput

# the colour-blind can distinguish Okabe & Ito's colours; every arm also has its own line style
LINE_STYLES: Mapping[str, Mapping[str, Any]] = {
    "tda2c-tuned": {"color": "#0072b2", "linestyle": "-", "linewidth": 2.4},
    "tda2c-tuned-first": {"color": "#0072b2", "linestyle": ":"},
    "tda2c": {"color": "#56b4e9", "linestyle": "--", "linewidth": 2.4},
    "tda2c-double-softmax": {"color": "#cc79a7", "linestyle": ":", "linewidth": 2.4},
    "a2c": {"color": "#d55e00", "linestyle": "-"},
    "a2c-zoo": {"color": "#e69f00", "linestyle": "--"},
    "a2c-td0": {"color": "#009e73", "linestyle": "-."},
    "ppo-zoo": {"color": "#000000", "linestyle": ":"},
}
"""line style of each main arm in all figures"""
MARKERS = dict(zip(BASELINES, "osD", strict=True))
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
        for arm in OWN_ARMS:
            compared = [each for each in findings.environments if any(c.arm == arm for c in each.comparisons)]
            if compared:
                figures[f"improvement-{arm}"] = improvement(compared, arm)
        for each in findings.environments:
            if each.curves:
                figures[f"curves-{file_name(each)}"] = curves(each)
            if each.ablations:
                figures[f"ablation-{file_name(each)}"] = ablations(each)
        if findings.aggregates:
            figures["profiles"] = profiles([aggregate.profile for aggregate in findings.aggregates])
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
    figure, axes = _figure(height=5.0)
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
    _legend_below(figure)
    return figure


def profiles(bands: Sequence[Band]) -> Figure:
    """Draw the share of runs above each normalised area under the curve."""
    figure, axes = _figure(height=4.8)
    _draw_bands(axes, bands)
    axes.set(xlim=(bands[0].at[0], bands[0].at[-1]), ylim=(0, 1.02))
    axes.set(xlabel="normalised area under the learning curve", ylabel="share of runs with a larger area")
    _legend_below(figure)
    return figure


def improvement(findings: Sequence[EnvironmentFindings], arm: str) -> Figure:
    """Draw the probability that an arm is better than each baseline, on every environment."""
    figure, axes = _figure(height=1.6 + 0.55 * len(findings))
    axes.axvspan(MIN_IMPROVEMENT, 1.0, color="#0072b2", alpha=0.08, linewidth=0, label=f"from {MIN_IMPROVEMENT}")
    axes.axvline(0.5, color="black", linewidth=1)
    for k, baseline in enumerate(BASELINES):
        estimates = {}
        for row, each in enumerate(findings):
            comparison = each.comparison(arm, baseline)
            if comparison is not None:
                estimates[row + 0.22 * (k - 1)] = comparison.area.improvement
        _draw_estimates(axes, estimates, LINE_STYLES[baseline]["color"], MARKERS[baseline], f"than {baseline}")
    n_runs = [next(c.n_runs for c in each.comparisons if c.arm == arm) for each in findings]
    _label_rows(axes, [f"{each.environment.name} ({n})" for each, n in zip(findings, n_runs, strict=True)])
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel(f"probability that a run of {arm} is better")
    _legend_below(figure, ncols=4)
    return figure


def ablations(findings: EnvironmentFindings) -> Figure:
    """Draw the effect of each change to the reference settings on an environment, as a forest plot."""
    figure, axes = _figure(height=1.3 + 0.36 * len(findings.ablations))
    axes.axvline(0, color="black", linewidth=1)
    estimates = {float(row): ablation.difference for row, ablation in enumerate(findings.ablations)}
    _draw_estimates(axes, estimates, LINE_STYLES[TUNED_ARM]["color"], "o")
    _label_rows(axes, [f"{a.arm.removeprefix(f'{REFERENCE_ARM}-')} ({a.n_runs})" for a in findings.ablations])
    axes.set_title(findings.environment.name)
    axes.set_xlabel(f"area under the curve, minus that of {REFERENCE_ARM}")
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _draw_bands(axes: Axes, bands: Sequence[Band]) -> None:
    for band in bands:
        style = LINE_STYLES[band.arm]
        axes.fill_between(band.at, band.low, band.high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(band.at, band.value, label=f"{band.arm} ({band.n_runs})", **style)


def _draw_estimates(
    axes: Axes, estimates: Mapping[float, Estimate], color: str, marker: str, label: str | None = None
) -> None:
    """Draw estimates with their intervals, by height."""
    if estimates:
        values = [estimate.value for estimate in estimates.values()]
        lows = [estimate.low for estimate in estimates.values()]
        highs = [estimate.high for estimate in estimates.values()]
        axes.hlines(list(estimates), lows, highs, color=color, linewidth=2)
        axes.plot(values, list(estimates), marker, color=color, label=label, clip_on=False)


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _legend_below(figure: Figure, ncols: int = 3) -> None:
    figure.legend(loc="outside lower center", ncols=ncols, handlelength=2.6, columnspacing=1.2)
