"""Findings as pages: Markdown with figures beside it, and one HTML file with everything in it."""

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
from benchmarks.learning.arms import ARMS
from benchmarks.learning.report import analysis, figures, findings
from benchmarks.learning.report.findings import Findings, Standing
from benchmarks.learning.statistics import Estimate
from benchmarks.learning.suites import ABLATION_ENVIRONMENTS

FIGURES = Path("figures/benchmarks")
"""their folder, as seen from the Markdown page"""


def write(found: Findings, output: Path) -> list[Path]:
    """Write the report: ``benchmarks.md``, ``report.html``, and the figures in ``figures/benchmarks``.

    Figures that it no longer has are deleted.

    :param found: what to report
    :param output: the folder
    :return: the pages
    """
    drawn = figures.draw_all(found)
    for outdated in (output / FIGURES).glob("*.*"):
        if outdated.stem not in drawn:
            outdated.unlink()
    figures.save(drawn, output / FIGURES)
    page = markdown(found, list(drawn))
    (output / "benchmarks.md").write_text(page)
    (output / "report.html").write_text(html(page, output))
    return [output / "benchmarks.md", output / "report.html"]


def markdown(found: Findings, drawn: Sequence[str]) -> str:
    """Put findings into words and tables.

    :param found: the findings
    :param drawn: names of the figures
    """
    return _templates().get_template("benchmarks.md.jinja").render(found=found, drawn=drawn)


def html(page: str, folder: Path) -> str:
    """Turn the page into an HTML file that needs no other.

    :param page: in Markdown
    :param folder: where its figures' paths start
    """
    parser = MarkdownIt("commonmark").enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("heading_open", _heading_with_anchor)
    parser.add_render_rule("image", _inlined_image)
    body = parser.render(page, {"folder": folder})
    return _templates().get_template("report.html.jinja").render(body=body)


def number(value: float) -> str:
    """Write a number with about four figures, three after the point at most."""
    if not math.isfinite(value):
        return "–"
    return _signed(value, _decimals(abs(value)))


def estimate(found: Estimate) -> str:
    """Write an estimate and its interval, all with the same decimals; one without an interval as a number."""
    if not findings.is_known(found):
        return number(found.value)
    decimals = _decimals(max(abs(found.value), abs(found.low), abs(found.high)))
    value, low, high = (_signed(bound, decimals) for bound in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def probability(found: Estimate) -> str:
    """Write a probability and its interval."""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def steps(value: float) -> str:
    """Write a number of steps; an infinite one is never reached."""
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def p_value(value: float) -> str:
    """Write a p-value."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def code(name: str) -> str:
    """Write a name as code."""
    return f"`{name}`"


def names(found: Sequence[str]) -> str:
    """List names in a sentence, as code."""
    *firsts, last = map(code, found)
    return f"{', '.join(firsts)} and {last}" if firsts else last


def _decimals(size: float) -> int:
    return 3 if size < 1 else max(0, 3 - math.floor(math.log10(size)) - 1)


def _signed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    # a zero has no sign
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def _anchor(heading: str) -> str:
    """Give the name of a heading in addresses, as GitHub does."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _heading_with_anchor(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    tokens[index].attrSet("id", _anchor(tokens[index + 1].content))
    return renderer.renderToken(tokens, index, options, env)


def _inlined_image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """Put the file's content in the place of its address."""
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
        "steps": steps,
        "p_value": p_value,
        "code": code,
        "names": names,
        "anchor": _anchor,
        "json": lambda value: json.dumps(value, sort_keys=True),
        "file_name": figures.file_name,
    }
    templates.globals |= {
        "arms": ARMS,
        "suites": [suite.name for suite in analysis.REPORTED],
        "BASELINES": analysis.BASELINES,
        "DETAILED": (Standing.PARTLY, Standing.WORSE, Standing.UNKNOWN),
        "COMPARED": analysis.COMPARED,
        "OWN_ARMS": analysis.OWN_ARMS,
        "LEARNING_ARMS": analysis.LEARNING_ARMS,
        "SEED_ARM": analysis.SEED_ARM,
        "TUNED_ARM": analysis.TUNED_ARM,
        "CURVE_WINDOW": curves.WINDOW,
        "SHOWN_FROM": findings.SHOWN_FROM,
        "ABLATION_ENVIRONMENTS": ABLATION_ENVIRONMENTS,
        "FIGURES": FIGURES.as_posix(),
    }
    return templates
