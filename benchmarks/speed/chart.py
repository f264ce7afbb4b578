"""The chart of the speeds on CartPole-v1, from SB3's A2C to the speed of the environments alone."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.speed import jax_comparison, throughput
from benchmarks.speed.settings import COMPILED

SETTINGS = {1: "cartpole-1", 16: "cartpole-16", 1024: "cartpole-1024"}
"""settings of the command ``throughput`` by number of environments"""
STYLES = {
    "SB3's A2C": ("#999999", "o"),
    "TDA2C, Gymnasium's environments": ("#56B4E9", "o"),
    "A2C in JAX, one core": ("#E69F00", "s"),
    "TDA2C, compiled environments": ("#0072B2", "D"),
    "limit: the compiled environments alone": ("#000000", "|"),
}
"""color and marker of each row; the colors are those of Okabe and Ito, which the color-blind can tell apart"""


def speeds(
    measured: Sequence[throughput.Measurement], in_jax: Sequence[jax_comparison.Measurement]
) -> dict[int, dict[str, float]]:
    """Collect the speeds to draw.

    JAX's is the speed of TDA2C in ``measured`` divided by the ratio of both in ``in_jax``, since the machine may have
    been faster or slower in the other run.

    :param measured: what ``throughput`` measured
    :param in_jax: what ``jax`` measured
    :return: steps per second by number of environments and row
    """
    rows: dict[int, dict[str, float]] = {}
    for n_envs, setting in SETTINGS.items():
        arms = {m.arm: m.speed for m in measured if m.setting == setting}
        ratios = {m.arm: m.ratio for m in in_jax if m.n_envs == n_envs}
        values = (
            max(speed for arm, speed in arms.items() if throughput.is_baseline(arm)),
            arms['TDA2C, engine="auto"'],
            arms[COMPILED] / ratios[jax_comparison.JAX + jax_comparison.ONE_CORE],
            arms[COMPILED],
            arms[throughput.COMPILED_ENVIRONMENT],
        )
        rows[n_envs] = dict(zip(STYLES, values, strict=True))
    return rows


def draw(rows: dict[int, dict[str, float]]) -> Figure:
    """Draw a dot for each speed on a logarithmic axis, with a panel per number of environments.

    :param rows: what :func:`speeds` returns
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    panels = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    fastest = max(max(row.values()) for row in rows.values())
    for panel, (n_envs, row) in zip(panels, rows.items(), strict=True):
        for position, (name, speed) in enumerate(row.items()):
            color, marker = STYLES[name]
            panel.plot([1, speed], [position, position], color=color, linewidth=1, alpha=0.5)
            panel.plot(speed, position, marker, color=color, markersize=8, markeredgewidth=2)
            weight = "bold" if name.startswith("TDA2C, compiled") else "normal"
            panel.annotate(
                f"{float(f'{speed:.3g}'):,.0f}",
                (speed, position),
                (9, 0),
                textcoords="offset points",
                va="center",
                weight=weight,
            )
        panel.set_yticks(range(len(row)), list(row))
        panel.set_xscale("log")
        panel.set_xlim(100, 6 * fastest)
        panel.set_ylim(len(row) - 0.4, -0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_title(f"{n_envs:,} environment{'s' if n_envs > 1 else ''}", loc="left", fontsize="medium")
        panel.grid(axis="x", alpha=0.3)
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panels[-1].set_xlabel("steps per second on CartPole-v1 (logarithmic axis)")
    return figure
