"""The HTML report in a browser, at the width of a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from benchmarks.learning.report import pages

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.slow


@pytest.fixture
def page(report: Path) -> Iterator[tuple[Page, list[str]]]:
    """Open the report on a phone; return the page and the addresses that it requests."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 390, "height": 844})
        requests: list[str] = []
        shown.on("request", lambda request: requests.append(request.url))
        shown.goto((report / "report.html").as_uri(), wait_until="load")
        yield shown, requests
        browser.close()


def test_every_figure_is_rendered(page: tuple[Page, list[str]], report: Path) -> None:
    shown, _ = page
    sizes: list[dict[str, Any]] = shown.evaluate(
        "[...document.images].map(i => ({natural: i.naturalWidth, shown: i.getBoundingClientRect(), text: i.alt}))"
    )
    assert len(sizes) == len(list((report / pages.FIGURES).glob("*.svg")))
    for size in sizes:
        assert size["natural"] > 0
        assert 300 < size["shown"]["width"] <= 390
        assert size["shown"]["height"] > 100
        assert size["text"]


def test_page_makes_no_requests(page: tuple[Page, list[str]], report: Path) -> None:
    _, requests = page
    assert requests[0] == (report / "report.html").as_uri()
    assert all(url.startswith("data:") for url in requests[1:])
    assert "<script" not in (report / "report.html").read_text()


def test_page_fits_a_phone(page: tuple[Page, list[str]]) -> None:
    shown, _ = page
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    tables: list[list[float]] = shown.evaluate(
        "[...document.querySelectorAll('table')].map(t => [t.scrollWidth, t.parentElement.clientWidth])"
    )
    # there are wide tables, and each scrolls in its frame
    assert max(width for width, _ in tables) > 390
    assert max(frame for _, frame in tables) <= 390


def test_every_link_has_its_target(page: tuple[Page, list[str]]) -> None:
    shown, _ = page
    links = shown.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert links
    for link in links:
        assert shown.locator(f"[id='{link.removeprefix('#')}']").count() == 1
