"""Shows in the sidebar the pages next to the current one, but not those below other pages.

With all modules in it, each page is twice as large, and the site takes twice as long to build.
"""

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register what this module adds to Sphinx."""
    # before the theme, which draws the sidebar
    app.connect("html-page-context", collapse, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def collapse(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Collapse the tree of pages that templates get."""
    toctree = context["toctree"]
    context["toctree"] = lambda **options: toctree(**options | {"collapse": True})
