"""Compiled kernels whose machine code on disk follows changes in other modules.

A kernel's machine code contains that of the functions which it calls. numba compiles the kernel again when its own file
changes, but not when theirs do, as after an update of a clone.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba


def kernel_compiler(*modules: ModuleType, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles kernels, without the global lock of Python and with a cache on disk.

    :param modules: modules from which the kernels use functions or constants, also through other kernels
    :param options: further options of ``numba.njit``
    """
    sources = [Path(str(module.__file__)).read_bytes() for module in modules]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()[:16]

    def compiled(function: Callable[..., Any]) -> Any:
        name = function.__qualname__
        # numba finds machine code on disk by the name
        function.__qualname__ = f"{name}-{digest}"
        kernel = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        function.__qualname__ = name
        return kernel

    return compiled
