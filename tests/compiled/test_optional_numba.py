"""Without numba, everything can be imported and registered, and only environments cannot be made."""

import subprocess
import sys

SCRIPT = """
import sys
if {without_numba}:
    sys.modules["numba"] = None
import gymnasium as gym
import sb3_a2c_td, sb3_a2c_td.compiled, sb3_a2c_td.tabular.compiled
from sb3_a2c_td.compiled.making import ENVS
assert all(env_id in gym.registry for env_id in ENVS)
if {without_numba}:
    for make in (gym.make, gym.make_vec, sb3_a2c_td.compiled.make_compiled_vec_env):
        try:
            make("sb3_a2c_td/CartPole-v1")
        except ImportError as error:
            print(error)
else:
    print("numba" in sys.modules)
"""


def output_of(without_numba: bool) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.format(without_numba=without_numba)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_missing_numba_is_named() -> None:
    found = output_of(without_numba=True)
    assert len(found) == 3
    for line in found:
        assert "a compiled environment needs it, pip install '.[fast]'" in line


def test_importing_does_not_import_numba() -> None:
    assert output_of(without_numba=False) == ["False"]
