from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
"""what is written in Markdown; the site includes the last three but for the README"""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
