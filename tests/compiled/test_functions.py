"""The functions are compiled once, each for one signature, and numba's reasons are one sentence."""

import gc
import importlib
import math
import os
import runpy
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from sb3_a2c_td.compiled import CompiledEnv, make_compiled_vec_env
from sb3_a2c_td.compiled.classic_control import CARTPOLE, MOUNTAIN_CAR
from sb3_a2c_td.compiled.functions import compiled_functions, without_warnings
from sb3_a2c_td.compiled.stepping import step_all_from_python
from tests.compiled.environments import WALK, reset_walk, step_walk

ROOT = Path(__file__).parents[2]


def test_functions_are_compiled_once() -> None:
    assert make_compiled_vec_env(WALK).function_list is make_compiled_vec_env(WALK, 3).function_list
    assert all(len(function.signatures) == 1 for function in compiled_functions(WALK).functions)


def test_environments_with_the_same_dtypes_share_a_kernel() -> None:
    make_compiled_vec_env(CARTPOLE)
    before = step_all_from_python.signatures
    make_compiled_vec_env(MOUNTAIN_CAR)
    assert step_all_from_python.signatures == before


def test_filters_of_warnings_stay_when_two_threads_compile() -> None:
    before, has_begun = list(warnings.filters), threading.Event()

    def begin() -> None:
        with without_warnings():
            has_begun.set()
            time.sleep(0.1)

    def join_later() -> None:
        has_begun.wait()
        with without_warnings():
            time.sleep(0.2)

    with ThreadPoolExecutor(2) as threads:
        for future in (threads.submit(begin), threads.submit(join_later)):
            future.result()
    assert warnings.filters == before


def test_functions_of_numba_are_compiled_as_plain_ones() -> None:
    env = CompiledEnv(
        WALK.observation_space, WALK.action_space, 2, numba.njit(reset_walk), numba.njit(step_walk), max_episode_steps=7
    )
    ours, theirs = make_compiled_vec_env(env, 2, seed=0), make_compiled_vec_env(WALK, 2, seed=0)
    assert np.array_equal(ours.reset(), theirs.reset())
    assert np.array_equal(ours.step(np.array([2, 0]))[0], theirs.step(np.array([2, 0]))[0])


def test_environments_that_nobody_uses_are_deleted() -> None:
    env = CompiledEnv(WALK.observation_space, WALK.action_space, 2, reset_walk, step_walk)
    compiled_functions(env)
    reference = weakref.ref(env)
    del env
    gc.collect()
    assert reference() is None


SCRIPT = """
import warnings
warnings.simplefilter("error")
from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.compiled.functions import compiled_functions
from sb3_a2c_td.compiled.stepping import step_all_from_python
for name in ("CartPole-v1", "Acrobot-v1"):
    env = make_compiled_vec_env(f"sb3_a2c_td/{name}", 2)
    env.reset()
    print(*(function.stats.cache_hits.total() for function in compiled_functions(env.compiled_env).functions))
print(step_all_from_python.stats.cache_hits.total(), step_all_from_python.stats.cache_misses.total())
"""


@pytest.mark.slow
def test_new_processes_load_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both environments use one kernel, and nothing warns."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    outputs = [
        subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert outputs[0][-2:] == ["0", "1"]
    assert outputs[1] == ["1"] * 6 + ["1", "0"]


def test_functions_without_a_file_compile() -> None:
    """Those of notebooks and of the interpreter cannot always be cached."""
    namespace: dict = {}
    exec("def reset(state, rng):\n    state[0] = 0.5\n    state[1] = rng.random()", namespace)
    env = CompiledEnv(WALK.observation_space, WALK.action_space, 2, namespace["reset"], step_walk)
    assert make_compiled_vec_env(env).reset()[0, 0] == 0.5


CONSTANTS = """
from types import ModuleType
import numba
from sb3_a2c_td.compiled import CompiledEnv
from sb3_a2c_td.compiled.functions import compiled_functions
from tests.compiled.environments import WALK

@numba.njit
def has_ended(state):
    return state[0] > LIMIT

TESTS = (has_ended,)
package = ModuleType("package")
package.module = ModuleType("package.module")
package.module.has_ended = has_ended

def reset(state, rng):
    state[:] = 0.0

def step(state, action, rng):
    return REWARD, has_ended(state)

env = CompiledEnv(WALK.observation_space, WALK.action_space, 2, reset, step)
_, compiled_step, _ = compiled_functions(env).functions
"""


def test_functions_in_one_line_are_compiled_apart(tmp_path: Path) -> None:
    """numba's cache on disk finds machine code by the line, the name and the bytecode without its constants."""
    file = tmp_path / "one_line.py"
    file.write_text(
        "import math\n"
        "steps = [(lambda s, a, rng: (1.0, False)), (lambda s, a, rng: (2.0, False)), "
        "(lambda s, a, rng: (math.sin(1.0), False)), (lambda s, a, rng: (math.cos(1.0), False))]\n"
    )
    rewards = []
    for step in runpy.run_path(str(file))["steps"]:
        env = CompiledEnv(WALK.observation_space, WALK.action_space, 2, reset_walk, step)
        rewards.append(compiled_functions(env).functions[1](np.zeros(2), 0, np.random.default_rng(0))[0])
    assert rewards == [1.0, 2.0, math.sin(1.0), math.cos(1.0)]


def test_other_values_of_globals_are_compiled_again(tmp_path: Path) -> None:
    """Those of a helper, too, although the file is the same."""
    file = tmp_path / "constants.py"
    file.write_text(CONSTANTS)
    outcomes = []
    for reward, limit in ((1.0, 1.0), (2.0, 1.0), (1.0, -1.0), (2.0, 1.0)):
        step = runpy.run_path(str(file), {"REWARD": reward, "LIMIT": limit})["compiled_step"]
        outcomes.append((*step(np.zeros(2), 0, np.random.default_rng(0)), step.stats.cache_hits.total()))
    assert outcomes == [(1.0, False, 0), (2.0, False, 0), (1.0, True, 0), (2.0, False, 1)]


@pytest.mark.parametrize("call", ["has_ended(state)", "TESTS[0](state)", "package.module.has_ended(state)"])
def test_a_helper_is_compiled_again_when_its_globals_change(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process, numba has its old machine code, which must not be cached as that of the new values either."""
    source = CONSTANTS.replace("REWARD, has_ended(state)", f"REWARD, {call}")
    (tmp_path / "changing.py").write_text(f"REWARD, LIMIT = 1.0, 1.0\n{source}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "changing", raising=False)
    module = importlib.import_module("changing")
    for limit, has_ended in ((1.0, False), (-1.0, True), (1.0, False)):
        module.LIMIT = limit
        env = CompiledEnv(WALK.observation_space, WALK.action_space, 2, module.reset, module.step)
        _, step, _ = compiled_functions(env).functions
        assert step(np.zeros(2), 0, np.random.default_rng(0)) == (1.0, has_ended)
    script = "import changing, numpy; print(changing.compiled_step(numpy.zeros(2), 0, numpy.random.default_rng()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "(1.0, False)\n"
