"""The site builds without warnings, is complete, and needs no network."""

import importlib
import inspect
import pkgutil
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from playwright.sync_api import Page, sync_playwright

import sb3_a2c_td
from tests.docs import DOCS, DOCS_PAGES, ROOT
from tests.docs.conftest import COMMAND

pytestmark = pytest.mark.slow

API = "api/generated/sb3_a2c_td"
CHROMIUM = shutil.which("chromium")
PHONE = {"width": 390, "height": 844}
LOADING = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src", "object": "data"}
"""elements that make a browser load a file, and the attribute with its address"""


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, BeautifulSoup]:
    """Parse the pages, except for source code and the benchmark's report, which ``tests/benchmarks`` tests."""
    found = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    return {
        name: BeautifulSoup(path.read_text(), "html.parser")
        for name, path in found.items()
        if not name.startswith("_modules/") and name != "report.html"
    }


def test_build_has_no_warnings(build: Path) -> None:
    assert (build / "sphinx.txt").read_text() == "exit code 0\n"


def test_command_is_that_of_make_docs() -> None:
    options = [option for option in COMMAND if option != "--quiet"]
    assert f"$(BIN)/python {' '.join(options)} docs docs/_build/html" in (ROOT / "Makefile").read_text()


def test_every_page_has_one_title(pages: dict[str, BeautifulSoup]) -> None:
    for name, page in pages.items():
        assert len(page.find_all("h1")) == (name != "search.html"), name


def test_the_sidebar_shows_the_modules_next_to_the_current_one(pages: dict[str, BeautifulSoup]) -> None:
    def modules(page: str) -> set[str]:
        sidebar = pages[page].select_one(".sidebar-tree")
        assert sidebar is not None
        return {link.text for link in sidebar.find_all("a")}

    assert {"engines.auto", "engines.numba_mlp", "saving"} <= modules(f"{API}.engines.autograd.html")
    assert "saving.atomic" not in modules(f"{API}.engines.autograd.html")
    assert "engines.auto" not in modules("theory.html")


def test_api_shows_types_of_arguments(pages: dict[str, BeautifulSoup]) -> None:
    items = pages[f"{API}.algorithms.tda2c.html"].select(
        "dt#sb3_a2c_td\\.algorithms\\.tda2c\\.TDA2C + dd > dl.field-list li p"
    )
    texts = {item.strong.text: " ".join(item.text.split()) for item in items}
    assert texts["policy"].startswith("policy (str | type[ActorCriticPolicy])")
    assert texts["critic_learning_rate"].startswith("critic_learning_rate (float | str | Callable[[float], float])")


def test_site_has_every_page(pages: dict[str, BeautifulSoup]) -> None:
    sources = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS_PAGES}
    assert sources <= pages.keys()
    assert len(sources) > 25


def test_pages_load_nothing_from_a_network(site: Path, pages: dict[str, BeautifulSoup]) -> None:
    for name, page in pages.items():
        for element, attribute in LOADING.items():
            for found in page.find_all(element):
                target = str(found.get(attribute, ""))
                assert not urlsplit(target).netloc, f"{name} loads {target}"
    for sheet in site.rglob("*.css"):
        for target in re.findall(r"""(?:url\(|@import)\s*["']?([^"')]+)""", sheet.read_text()):
            assert target.startswith("data:") or not urlsplit(target).netloc, f"{sheet.name} loads {target}"


def test_links_within_the_site_have_targets(site: Path, pages: dict[str, BeautifulSoup]) -> None:
    anchors = {name: {found["id"] for found in page.find_all(id=True)} for name, page in pages.items()}
    n_links = 0
    for name, page in pages.items():
        for link in page.find_all("a", href=True):
            target = urlsplit(str(link["href"]))
            if target.scheme or target.netloc:
                continue
            path = (site / name).parent / unquote(target.path) if target.path else site / name
            assert path.is_file(), f"{name} links to {link['href']}"
            key = path.resolve().relative_to(site.resolve()).as_posix()
            if target.fragment and key in anchors:
                assert unquote(target.fragment) in anchors[key], f"{name} links to {link['href']}"
            n_links += 1
    assert n_links > 1_000


def links_of(page: BeautifulSoup) -> set[str]:
    return {str(link["href"]) for link in page.find_all("a", href=True)}


def test_links_to_files_become_links_within_the_site(pages: dict[str, BeautifulSoup]) -> None:
    reliability = links_of(pages["reliability.html"])
    assert "security.html" in reliability
    assert any(re.fullmatch(r"_downloads/\w+/test_kills\.py", link) for link in reliability)
    assert f"{API}.engines.autograd.html#module-sb3_a2c_td.engines.autograd" in links_of(pages["algorithm.html"])
    assert "report.html" in links_of(pages["index.html"])


def test_names_in_code_become_links_to_the_api(pages: dict[str, BeautifulSoup]) -> None:
    theory = links_of(pages["theory.html"])
    assert f"{API}.tabular.exact.html#sb3_a2c_td.tabular.exact.visitation" in theory
    reliability = links_of(pages["reliability.html"])
    # inherited
    assert any(re.fullmatch(rf"{re.escape(API)}\.algorithms\.\w+\.html#.*\.resume", link) for link in reliability)


def modules() -> list[ModuleType]:
    """Import the package and its modules, except for ``__main__``, which defines nothing."""
    found = pkgutil.walk_packages(sb3_a2c_td.__path__, "sb3_a2c_td.")
    names = [module.name for module in found if not module.name.endswith(".__main__")]
    return [sb3_a2c_td, *map(importlib.import_module, names)]


def public_symbols(module: ModuleType) -> set[str]:
    """List the public names of a module: its ``__all__``, or the functions and classes that it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or callable(value))
        and getattr(value, "__module__", None) == module.__name__
        and hasattr(value, "__qualname__")
    }


def test_api_has_every_public_symbol(site: Path) -> None:
    content = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()
    documented = {line.split()[0] for line in lines if line.split()[1].startswith("py:")}
    for module in modules():
        assert module.__name__ in documented
        for name in public_symbols(module):
            assert f"{module.__name__}.{name}" in documented
    assert {
        "sb3_a2c_td.TDA2C.learn",
        "sb3_a2c_td.TDA2C.resume",
        "sb3_a2c_td.engines.numba_kernels.update",
    } <= documented


def symbols(formula: str) -> str:
    """Return the characters of a LaTeX formula, as in MathML."""
    return "".join("".join(ElementTree.fromstring(convert(formula)).itertext()).split())


def test_formulas_have_every_symbol(pages: dict[str, BeautifulSoup]) -> None:
    """A drawing has one path for each symbol, one more for each root, and one more for each bar of a norm."""
    drawings = {str(found["aria-label"]): found for page in pages.values() for found in page.select(".maths svg")}
    assert len(drawings) > 100
    for latex, drawing in drawings.items():
        formula = re.sub(r"\\tag\{.+?\}", "", latex).strip()
        # an unknown command would be text
        assert "\\" not in symbols(formula)
        n_more = len(re.findall(r"\\sqrt|\\[lr]Vert", formula))
        assert len(drawing.find_all("path")) == len(symbols(formula)) + n_more, formula
    theory = pages["theory.html"].select("div.maths")
    assert [found.select_one(".number").text for found in theory if found.select_one(".number")] == [
        f"({number})" for number in range(1, 12)
    ]


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started.new_page(viewport=PHONE)
        started.close()


def test_no_page_scrolls_sideways(browser: Page, site: Path, pages: dict[str, BeautifulSoup]) -> None:
    for name in pages:
        browser.goto((site / name).as_uri(), wait_until="load")
        assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name


def test_browser_requests_only_files_of_the_site(browser: Page, site: Path) -> None:
    requested: list[str] = []
    browser.on("request", lambda request: requested.append(request.url))
    for name in ("theory.html", "benchmarks.html", f"{API}.algorithms.tda2c.html"):
        browser.goto((site / name).as_uri(), wait_until="load")
        broken = "[...document.images].filter(image => image.naturalWidth == 0).map(image => image.src)"
        assert browser.evaluate(broken) == []
    assert all(address.startswith((site.as_uri(), "data:")) for address in requested)
    assert len(requested) > 3


def test_formulas_and_verdicts_fit_a_phone(browser: Page, site: Path) -> None:
    for name in ("theory", "tda2c", "recurrent", "benchmarks"):
        browser.goto((site / f"{name}.html").as_uri(), wait_until="load")
        wide = (
            "[...document.querySelectorAll('div.maths, .table-wrapper')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        )
        assert browser.evaluate(f"{wide}.length") == 0, name


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("TDA2C", "tda2c.html"),
        ("recommended", f"{API}.hyperparams.tda2c.html#sb3_a2c_td.hyperparams.tda2c.recommended"),
        ("maskabletda2c", f"{API}.algorithms.maskable.html#sb3_a2c_td.algorithms.maskable.MaskableTDA2C"),
    ],
)
def test_search_finds_the_public_name_first(query: str, found: str, browser: Page, site: Path) -> None:
    browser.goto(f"{(site / 'search.html').as_uri()}?q={query}", wait_until="load")
    browser.wait_for_function("document.querySelector('.search-summary')?.textContent.includes('found')")
    first = browser.query_selector("ul.search li a")
    assert first is not None
    address = urlsplit(str(first.get_attribute("href")))
    assert f"{address.path}#{address.fragment}".rstrip("#") == found
