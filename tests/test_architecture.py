"""Importing the package is light. The contracts in ``pyproject.toml`` hold the direction of imports (``make lint``)."""

import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """List the modules that a new process has loaded once it has run the code."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_little_more_than_sb3() -> None:
    added = modules_after("from sb3_a2c_td import TDA2C") - modules_after("import stable_baselines3")
    assert {name.split(".")[0] for name in added} <= {
        "sb3_a2c_td",
        "gymnasium",
        "lazy_loader",
        "sb3_contrib",
        "stable_baselines3",
        "threadpoolctl",
    }


def test_importing_the_package_loads_neither_pytorch_nor_sb3() -> None:
    assert not {"torch", "stable_baselines3"} & modules_after("import sb3_a2c_td")


def test_importing_the_command_line_does_not_load_distributed_training() -> None:
    loaded = modules_after("import sb3_a2c_td.cli")
    assert "sb3_a2c_td.cli" in loaded
    assert "sb3_a2c_td.algorithms.distributed" not in loaded
