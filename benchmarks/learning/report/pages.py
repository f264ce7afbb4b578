"""Pages of the report: Markdown with separate figures, and a single HTML file that contains them."""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from benchmarks.learning import curves
from benchmarks.learning.arms import ARMS, LABELS, MATCHED_ARMS, PART_ARMS, VARIED_ARMS, label
from benchmarks.learning.report import analysis, figures, overview
from benchmarks.learning.report.findings import MIN_IMPROVEMENT, SIGNIFICANCE, Ablation, Findings, Verdict, has_interval
from benchmarks.learning.statistics import Estimate
from benchmarks.learning.suites import ABLATION_ENVIRONMENTS

FIGURES = Path("figures/benchmarks")
"""folder of the figures, relative to the Markdown pages"""
PAGES = ("benchmarks.md", "benchmark_details.md")


def write(findings: Findings, output: Path) -> list[Path]:
    """Write the report: ``benchmarks.md``, ``benchmark_details.md``, ``report.html``, and their figures.

    Figures of earlier reports that are no longer drawn are deleted.

    :param findings: the findings
    :param output: the folder
    :return: the pages
    """
    drawn = figures.draw_all(findings)
    for outdated in (output / FIGURES).glob("*.*"):
        if outdated.stem not in drawn:
            outdated.unlink()
    figures.save(drawn, output / FIGURES)
    pages = [markdown(name, findings, list(drawn)) for name in PAGES]
    for name, page in zip(PAGES, pages, strict=True):
        (output / name).write_text(page)
    (output / "report.html").write_text(html(_in_one_file(pages), output))
    return [output / name for name in (*PAGES, "report.html")]


def markdown(name: str, findings: Findings, drawn: Sequence[str]) -> str:
    """Write the findings as a Markdown page.

    :param name: one of :data:`PAGES`
    :param findings: the findings
    :param drawn: names of the figures
    """

    def figure(each: str, alt: str) -> str:
        return f"![{alt}]({FIGURES.as_posix()}/{each}.svg)\n" if each in drawn else ""

    return _templates().get_template(f"{name}.jinja").render(findings=findings, figure=figure, drawn=drawn)


def html(page: str, folder: Path) -> str:
    """Convert the page to a self-contained HTML file.

    :param page: the page in Markdown
    :param folder: folder that the paths of the figures are relative to
    """
    parser = MarkdownIt("commonmark").enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("heading_open", _heading_with_anchor)
    parser.add_render_rule("image", _inlined_image)
    body = parser.render(page, {"folder": folder})
    return _templates().get_template("report.html.jinja").render(body=body)


def _in_one_file(pages: Sequence[str]) -> str:
    """Join the pages; links between them become links within the file."""
    text = "\n".join(pages)
    for name, page in zip(PAGES, pages, strict=True):
        title = next(line.removeprefix("# ") for line in page.splitlines() if line.startswith("# "))
        text = text.replace(f"]({name}#", "](#").replace(f"]({name})", f"](#{_anchor(title)})")
    return text


def number(value: float) -> str:
    """Format a number with about three significant digits and at most three decimals."""
    if not math.isfinite(value):
        return "–"
    return _signed(value, _decimals(abs(value)))


def estimate(each: Estimate) -> str:
    """Format an estimate and its interval with equal decimals; without an interval, as a number."""
    if not has_interval(each):
        return number(each.value)
    decimals = _decimals(max(abs(each.value), abs(each.low), abs(each.high)))
    value, low, high = (_signed(bound, decimals) for bound in (each.value, each.low, each.high))
    return f"{value} [{low}, {high}]"


def probability(each: Estimate) -> str:
    """Format a probability and its interval."""
    return f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}]"


def seconds(value: float | None) -> str:
    """Format seconds; infinity is "never", and nothing a dash."""
    if value is None:
        return "–"
    return number(value) if math.isfinite(value) else "never"


def emphasized(each: Ablation | None) -> str:
    """Format the difference that a change makes, in bold if its interval excludes zero; nothing is a dash."""
    if each is None:
        return "–"
    return f"**{number(each.difference.value)}**" if each.has_effect else number(each.difference.value)


def steps(value: float) -> str:
    """Format a number of steps; infinity is "never"."""
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def p_value(value: float) -> str:
    """Format a p-value."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def arm_names(listed: Sequence[str]) -> str:
    """List the names of arms, with "and" before the last."""
    *others, last = map(label, listed)
    return f"{', '.join(others)} and {last}" if others else last


def _decimals(size: float) -> int:
    return 3 if size < 1 else max(0, 3 - math.floor(math.log10(size)) - 1)


def _signed(value: float, decimals: int) -> str:
    """Format a number with a minus sign (U+2212); zero has no sign."""
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def _anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub does."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _heading_with_anchor(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    tokens[index].attrSet("id", _anchor(tokens[index + 1].content))
    return renderer.renderToken(tokens, index, options, env)


def _inlined_image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """Replace the address of an image by its content."""
    content = (env["folder"] / str(tokens[index].attrs["src"])).read_bytes()
    tokens[index].attrSet("src", f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}")
    return renderer.image(tokens, index, options, env)


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("benchmarks.learning.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "number": number,
        "estimate": estimate,
        "probability": probability,
        "emphasized": emphasized,
        "steps": steps,
        "seconds": seconds,
        "p_value": p_value,
        "names": arm_names,
        "label": label,
        "tallies": overview.tallies,
        "n_faster": overview.n_faster,
        "one_step_targets": overview.one_step_targets,
        "json": lambda value: json.dumps(value, sort_keys=True),
        "file_name": figures.file_name,
    }
    templates.globals |= {
        "ARMS_SHOWN": [*ARMS.values(), *MATCHED_ARMS.values()],
        "arms": ARMS | MATCHED_ARMS,
        "suites": [suite.name for suite in (*analysis.REPORTED, analysis.FRESH)],
        "COMPARISONS": analysis.COMPARISONS,
        "OTHER_METRICS": ("second half", "final score"),
        "LABELS": LABELS,
        "MATCHED": list(MATCHED_ARMS),
        "VARIED": list(VARIED_ARMS.values()),
        "PARTS": list(PART_ARMS.values()),
        "VERDICTS": Verdict,
        "GENERAL": overview.GENERAL,
        "TUNED": overview.TUNED,
        "TUNED_A2C": overview.TUNED_A2C,
        "TIMED": overview.TIMED,
        "A2C": overview.A2C,
        "inf": math.inf,
        "MIN_LEARNED": overview.MIN_LEARNED,
        "CURVE_WINDOW": curves.WINDOW,
        "MIN_IMPROVEMENT": MIN_IMPROVEMENT,
        "SIGNIFICANCE": SIGNIFICANCE,
        "ABLATION_ENVIRONMENTS": ABLATION_ENVIRONMENTS,
    }
    return templates
