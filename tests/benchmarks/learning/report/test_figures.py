"""The report's figures show all of what they draw."""

from matplotlib.figure import Figure

from benchmarks.learning.report import figures
from benchmarks.learning.report.findings import Findings


def legends_outside(drawn: dict[str, Figure]) -> list[str]:
    """List figures whose legend is cut off at an edge."""
    outside = []
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        for legend in figure.legends:
            box = legend.get_window_extent()
            if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1:
                outside.append(name)
    return outside


def test_no_legend_is_cut_off(findings: Findings, held_out_findings: Findings) -> None:
    drawn = figures.draw_all(findings)
    assert {"curves-CartPole-v1", "studies"} <= set(drawn)
    assert legends_outside(drawn) == []
    assert legends_outside({"overview": figures.draw_all(held_out_findings)["overview"]}) == []
