from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCS_PAGES = [*sorted(DOCS.glob("*.md")), DOCS / "api" / "index.md"]
ROOT_PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
"""pages that a code host shows; the site includes all of them except for README"""
PAGES = [*DOCS_PAGES, *ROOT_PAGES]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
