"""Formulas as SVG within the pages: no script, no font, no network, and the same look in every browser."""

import functools
import html
import re
from xml.etree import ElementTree

import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

SIZE = 24.0
"""font size in drawing units; pages scale formulas to the size of the text"""
TAG = re.compile(r"\\tag\{(.+?)\}")
FUNCTION = r"\\(?:log|cos|operatorname\{\w+\})"
SPACING = {
    rf"({FUNCTION}) *(?=[A-Za-z\\])(?!\\left|\\,)": r"\1\\,",
    rf"(?<=[A-Za-z)]) +(?={FUNCTION})": r"\\,",
    r"\(-": "({-}",
}
"""TeX's spacing around functions and after a sign, where ziamath's differs"""


@functools.cache
def svg(latex: str, is_inline: bool) -> str:
    """Draw a formula.

    :param latex: the formula in LaTeX
    :param is_inline: whether the formula is part of a line of text; it is then aligned with the baseline
    :return: an ``svg`` element
    """
    spaced = latex
    for pattern, replacement in SPACING.items():
        spaced = re.sub(pattern, replacement, spaced)
    formula = ziamath.Latex(spaced, size=SIZE, inline=is_inline, color="currentColor").svgxml()
    _, top, width, height = (float(number) / SIZE for number in formula.attrib["viewBox"].split())
    baseline = f"; vertical-align: {-(top + height):.3f}em" if is_inline else ""
    formula.attrib |= {
        "width": f"{width:.3f}em",
        "height": f"{height:.3f}em",
        "style": f"width: {width:.3f}em; height: {height:.3f}em{baseline}",
        "role": "img",
        "aria-label": latex,
    }
    return ElementTree.tostring(formula, encoding="unicode")


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula into a line of text."""
    translator.body.append(f'<span class="maths">{svg(node.astext(), is_inline=True)}</span>')
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    r"""Write a displayed formula, with its ``\tag`` at the right."""
    latex = node.astext()
    tag = TAG.search(latex)
    number = f'<span class="number">({html.escape(tag[1])})</span>' if tag else ""
    drawing = svg(TAG.sub("", latex).strip(), is_inline=False)
    translator.body.append(f'<div class="maths" tabindex="0"><div>{drawing}</div>{number}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer."""
    ziamath.config.svg2 = False
    app.add_html_math_renderer("svg", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
