"""The documentation site: ``make docs`` builds it."""

import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

from sb3_a2c_td.version import __version__  # noqa: E402

project = "sb3-a2c-td"
author = "The sb3-a2c-td developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "api_text",
    "collapsed_sidebar",
    "source_links",
    "svg_maths",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
nitpicky = True

# Markdown
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
included_pages = {
    "SECURITY.md": "security",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
}

# API: autosummary writes a page for each module, and leaves the pages of deleted modules
shutil.rmtree(DOCS / "api" / "generated", ignore_errors=True)
add_module_names = False
autodoc_default_options = {"members": True, "show-inheritance": True, "no-value": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
api_package = "sb3_a2c_td"
# pages write names as code without these prefixes
api_prefixes = ["", *(f"sb3_a2c_td.{folder}" for folder in ("", "tabular.", "envs.", "saving.", "export."))]
# references to other packages need a network; type variables, and the class of the options made from a signature, are
# not documented
TYPE_VARIABLES = "ArrayT|Batch|EngineT|Model|Result|Sample|T"
nitpick_ignore_regex = [
    (r"py:.*", r"(?!sb3_a2c_td\b).*"),
    (r"py:.*", rf".*\.({TYPE_VARIABLES}|Annotated|ConstructorOptions)"),
]

# HTML
# dashes, no curly quotes
smartquotes_action = "D"
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["report.html"]
html_search_scorer = str(DOCS / "_search" / "scorer.js")
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
