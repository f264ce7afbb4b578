"""The conditions of a measurement: machine, versions and command."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

import cpuinfo
import torch as th

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
)


def conditions() -> dict[str, Any]:
    """Collect facts about the machine, the package versions and the command."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "cpu": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()),
        "n_cores": os.cpu_count(),
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
