"""Imports run one way, and importing the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sb3_a2c_td"
ORDER = ["functional", "optimizers", "buffers", "policies", "validation", "td_a2c", "__init__", "__main__"]
"""a module may import those before it"""


def imports_of(module: Path) -> set[str]:
    """List the modules of this project that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names if name.split(".")[0] in ("sb3_a2c_td", "benchmarks", "tests")}


def test_imports_run_one_way() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ORDER)
    for position, name in enumerate(ORDER):
        for imported in imports_of(PACKAGE / f"{name}.py"):
            top, _, rest = imported.partition(".")
            assert top == "sb3_a2c_td", f"{name} imports {imported}"
            first = rest.partition(".")[0]
            if first in ORDER:
                assert ORDER.index(first) < position, f"{name} imports {imported}"


def test_the_mathematics_knows_tensors_only() -> None:
    for node in ast.walk(ast.parse((PACKAGE / "functional.py").read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert module.split(".")[0] == "torch"


def test_importing_the_package_imports_nothing_heavy() -> None:
    """What SB3 itself does not import at once."""
    code = (
        "import sys, stable_baselines3; before = set(sys.modules); import sb3_a2c_td; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} == {"sb3_a2c_td"}
