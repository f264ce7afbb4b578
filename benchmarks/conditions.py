"""The conditions of a measurement: machine, versions and command."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

import cpuinfo
import llvmlite.binding as llvm
import torch as th
from threadpoolctl import threadpool_info

PACKAGES = (
    "sb3-a2c-td",
    "stable-baselines3",
    "gymnasium",
    "torch",
    "numpy",
    "numba",
    "scipy",
    "optuna",
    "box2d",
    "mujoco",
    "minatar",
    "minigrid",
)


def conditions() -> dict[str, Any]:
    """Collect facts about the machine, the package versions and the command.

    numba compiles for a kind of CPU with its features, and a BLAS chooses its kernels by the kind of core. On others,
    the last bits of results differ, and so do whole trainings after many steps.
    """
    features = llvm.get_host_cpu_features()
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "cpu": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()),
        "n_cores": os.cpu_count(),
        "numba_cpu": llvm.get_host_cpu_name(),
        "numba_features": " ".join(sorted(name for name, has in features.items() if has)),
        "blas_cores": sorted({pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas"}),
        "gpu": th.cuda.get_device_name() if th.cuda.is_available() else None,
        "n_threads": th.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in PACKAGES if _is_installed(package)},
    }


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def describe(facts: dict[str, Any]) -> str:
    """Format :func:`conditions` for a reader.

    :param facts: the conditions
    :return: two lines of text
    """
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    gpu = f", {facts['gpu']}" if facts["gpu"] else ""
    return (
        f"`{facts['command']}`\n{facts['cpu']}, {facts['n_cores']} cores{gpu}; {facts['n_threads']} "
        f"thread(s); Python {facts['python']}, {versions}"
    )
