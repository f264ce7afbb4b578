"""Turn links to the repository's files, and names in code, into links within the site.

On a code host, pages link to files by relative paths. In the site, a link to a module of the package leads to its API
page, a link to a Markdown file outside ``docs`` to the page that includes it, and a link to an HTML file to its copy.
Sphinx turns links to other files into downloads. Names of functions and classes in ``code`` become links to the API.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata


class LinksToFiles(SphinxTransform):
    """Replaces links to files of the repository with links within the site."""

    default_priority = 400

    def apply(self) -> None:
        """Replace each link that MyST takes for a link to a file."""
        for node in list(self.document.findall(_is_link_of_myst)):
            assert isinstance(node, nodes.Element)
            link = self._link(str(node["reftarget"]), is_document=node.get("refdomain") == "doc")
            if link is not None:
                link += node.children
                node.replace_self(link)

    def _link(self, target: str, is_document: bool) -> nodes.Element | None:
        root = Path(self.app.srcdir).parent
        base = Path(self.app.srcdir) if is_document else Path(self.env.doc2path(self.env.docname)).parent
        path = (base / (f"{target}.md" if is_document else target)).resolve()
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        if name.startswith("sb3_a2c_td/") and name.endswith(".py"):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            return self._reference("py", "mod", module)
        # links of an included page start at the root
        page = self.config.included_pages.get(name) or self.config.included_pages.get(target)
        if page is not None:
            return self._reference("std", "doc", f"/{page}")
        if name.removeprefix("docs/") in self.config.html_extra_path:
            return nodes.reference(refuri=name.removeprefix("docs/"))
        return None

    def _reference(self, domain: str, kind: str, target: str) -> addnodes.pending_xref:
        return addnodes.pending_xref(
            refdomain=domain, reftype=kind, reftarget=target, refdoc=self.env.docname, refexplicit=True, refwarn=True
        )


def _is_link_of_myst(node: nodes.Node) -> bool:
    return isinstance(node, addnodes.pending_xref | addnodes.download_reference) and node.get("reftype") == "myst"


class NamesInCode(SphinxPostTransform):
    """Links names in ``code`` to the API, with or without the package in front."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Link each name that the API documents."""
        domain = self.env.domains.python_domain
        for node in list(self.document.findall(nodes.literal)):
            if isinstance(node.parent, nodes.title | nodes.reference | addnodes.pending_xref):
                continue
            name = node.astext().removesuffix("()")
            keys = [prefix + name for prefix in self.config.api_prefixes]
            found = next((key for key in keys if key in domain.objects), None)
            # a single word that names a module may also mean a folder or an extra
            if found is not None and ("." in name or domain.objects[found].objtype != "module"):
                entry = domain.objects[found]
                link = make_refnode(
                    self.app.builder, self.env.docname, entry.docname, entry.node_id, node.deepcopy(), found
                )
                node.replace_self(link)


class BreaksInCode(SphinxPostTransform):
    """Lets browsers break long names in tables and titles after a dot, a slash or an underscore."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Insert break opportunities into code in tables and titles."""
        places = self.document.findall(lambda node: isinstance(node, nodes.entry | nodes.title))
        for node in [literal for place in places for literal in place.findall(nodes.literal)]:
            parts = re.split(r"(?<=[._/])(?=\w)(?!py\b)", node.astext())
            node.children = []
            for part in parts:
                if node.children:
                    node += nodes.raw("", "<wbr>", format="html")
                node += nodes.Text(part)


def add_aliases(app: Sphinx, env: BuildEnvironment) -> None:
    """Register inherited members under their subclasses, and symbols under the packages that export them."""
    domain = env.domains.python_domain
    root = importlib.import_module(app.config.api_package)
    found = list(pkgutil.walk_packages(root.__path__, f"{root.__name__}."))
    documented = [importlib.import_module(module.name) for module in found if module.name in domain.objects]
    for module in documented:
        for symbol in list(vars(module).values()):
            if inspect.isclass(symbol) and symbol.__module__ == module.__name__:
                _add_inherited(domain, symbol)
    for module in [*(module for module in documented if hasattr(module, "__path__")), root]:
        for name in getattr(module, "__all__", []):
            _add_alias(domain, _name(getattr(module, name), f"{module.__name__}.{name}"), f"{module.__name__}.{name}")


def _add_inherited(domain: PythonDomain, symbol: type) -> None:
    for base in symbol.__mro__[1:]:
        _add_alias(domain, _name(base), _name(symbol))


def _name(symbol: object, default: str = "") -> str:
    if hasattr(symbol, "__module__") and hasattr(symbol, "__qualname__"):
        return f"{symbol.__module__}.{symbol.__qualname__}"
    return default


def _add_alias(domain: PythonDomain, name: str, alias: str) -> None:
    for key, entry in list(domain.objects.items()):
        if key == name or key.startswith(f"{name}."):
            domain.objects.setdefault(alias + key.removeprefix(name), entry._replace(aliased=True))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the transforms and their settings in ``conf.py``."""
    app.add_config_value("included_pages", {}, "env")
    app.add_config_value("api_package", "", "env")
    app.add_config_value("api_prefixes", [], "env")
    app.add_transform(LinksToFiles)
    app.add_post_transform(NamesInCode)
    app.add_post_transform(BreaksInCode)
    app.connect("env-check-consistency", add_aliases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
