import os
import runpy
from pathlib import Path
from types import ModuleType

import numba
import pytest

from sb3_a2c_td.engines.kernel_cache import kernel_compiler

KERNEL = """
@compiled
def kernel():
    return helper() + 1
"""


def run_kernel(folder: Path, value: int) -> tuple[int, int]:
    """Return the result of a kernel that calls a helper of another module, and whether it came from disk."""
    helpers = ModuleType("helpers")
    helpers.__file__ = str(folder / "helpers.py")
    Path(helpers.__file__).write_text(f"value = {value}")
    helper = numba.njit(lambda: value)
    compiled = kernel_compiler(helpers)
    kernel = runpy.run_path(str(folder / "kernel.py"), {"compiled": compiled, "helper": helper})["kernel"]
    return kernel(), kernel.stats.cache_hits.total()


def test_a_change_in_another_module_compiles_a_kernel_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.fspath(tmp_path / "cache"))
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert [run_kernel(tmp_path, value) for value in (1, 2, 2)] == [(2, 0), (3, 0), (3, 1)]


def test_the_name_of_the_kernel_stays() -> None:
    def named() -> None: ...

    assert kernel_compiler()(named).py_func.__qualname__.endswith(".named")
