"""Which engine ``"auto"`` uses, and when it changes."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba.core import event
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C, MlpPolicy
from sb3_a2c_td.engines import auto, compilation, numba_kernels
from sb3_a2c_td.engines.compilation import announced_compilation
from sb3_a2c_td.engines.numba_mlp import NumbaEngine
from sb3_a2c_td.engines.numpy_mlp import NumpyEngine
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.tda2c.test_collecting import StopAt
from tests.environments import CountingEnv

LONG = auto.MIN_STEPS_TO_COMPILE


def make(n_envs: int = 1, **kwargs: Any) -> TDA2C:
    env = make_vec_env("CartPole-v1", n_envs, seed=0)
    return TDA2C("MlpPolicy", env, seed=0, device="cpu", update_on_episode_end=False, **kwargs)


def engine_in_use(model: TDA2C) -> type:
    return type(model._engine._engine)


class OwnPolicy(MlpPolicy):
    pass


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_long_training_changes_to_numba_after_200_updates(n_envs: int) -> None:
    model = make(n_envs, n_steps=2).learn(LONG * n_envs, StopAt(400 * n_envs))
    assert engine_in_use(model) is NumpyEngine
    # update 200 comes first
    model.learn(LONG * n_envs, StopAt(401 * n_envs), reset_num_timesteps=False)
    assert model._n_updates == 200
    assert engine_in_use(model) is NumbaEngine


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_short_training_compiles_nothing(n_envs: int) -> None:
    """Compiling would take longer than it saves."""
    model = make(n_envs, n_steps=2).learn(LONG * n_envs - n_envs, StopAt(450 * n_envs))
    assert model._n_updates > 200
    assert engine_in_use(model) is NumpyEngine


def test_many_short_calls_of_learn_compile_nothing() -> None:
    model = make(n_steps=2).learn(LONG - 1, StopAt(450))
    model.learn(LONG - 1, StopAt(1), reset_num_timesteps=False)
    assert engine_in_use(model) is NumpyEngine


def test_a_training_that_used_numba_keeps_it(tmp_path: Path) -> None:
    """A killed training continues with fewer steps."""
    model = make(n_steps=2).learn(LONG, StopAt(450))
    model.save(tmp_path / "model")
    resumed = TDA2C.resume(tmp_path / "model", model.get_env(), device="cpu")
    assert engine_in_use(resumed.learn(10, reset_num_timesteps=False)) is NumbaEngine


def test_a_short_training_after_a_long_one_equals_that_of_a_copy() -> None:
    """A copy has no engine and makes its own; both take numpy."""
    model = make(n_steps=2).learn(LONG, StopAt(450))
    assert engine_in_use(model) is NumbaEngine
    copied = copy.deepcopy(model)
    for each in (model, copied):
        each.set_random_seed(1)
        assert engine_in_use(each.learn(300)) is NumpyEngine
    assert_same_parameters(copied, model)


def test_auto_says_when_it_will_compile(capsys: pytest.CaptureFixture[str]) -> None:
    make(verbose=1)
    expected = "Using the engine numpy, then numba in trainings of at least 100,000 steps per environment"
    assert expected in capsys.readouterr().out


def test_auto_says_why_it_uses_autograd(capsys: pytest.CaptureFixture[str]) -> None:
    TDA2C(OwnPolicy, CountingEnv(), device="cpu", verbose=1)
    assert "Using the engine autograd (the policy is a OwnPolicy, not a MlpPolicy)" in capsys.readouterr().out


# What is printed while numba compiles

COLD_TRAINING = """
import sys
import torch as th
from stable_baselines3.common.callbacks import ConvertCallback
from sb3_a2c_td import TDA2C
th.set_num_threads(1)
model = TDA2C("MlpPolicy", "CartPole-v1", n_steps=2, seed=0, device="cpu", verbose=1)
model.learn(100_000, ConvertCallback(lambda *_: model.num_timesteps < 410), log_interval=10**6)
print("numba is imported:", "numba" in sys.modules)
"""


def train_cold(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COLD_TRAINING],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
    )
    assert "numba is imported: True" in done.stdout
    return done.stdout


@pytest.mark.slow
def test_compiling_is_announced_once_and_loading_is_not(tmp_path: Path) -> None:
    first, second = (train_cold(tmp_path) for _ in range(2))
    assert first.count(compilation.NOTICE) == 1
    (seconds,) = re.findall(r"Compiling took (\d+\.\d) s\.", first)
    assert float(seconds) > 0.5
    assert "Compiling" not in second


@pytest.mark.parametrize("verbose", [0, 1])
def test_compiling_is_announced_with_verbose_1(
    verbose: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TDA2C, "train", lambda model: compilation.begin())
    TDA2C("MlpPolicy", "CartPole-v1", device="cpu", verbose=verbose).learn(5, log_interval=None)
    assert (compilation.NOTICE in capsys.readouterr().out) == (verbose == 1)


def test_only_kernels_of_this_package_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    """An environment may compile other functions. Each context announces once."""

    class Dispatcher:
        def __init__(self, function: Any) -> None:
            self.py_func = function

    def start_compiling(function: Any) -> str:
        event.start_event("numba:compile", {"dispatcher": Dispatcher(function)})
        return capsys.readouterr().out

    kernel = numba_kernels.update.py_func
    assert start_compiling(kernel) == ""
    for _ in range(2):
        with announced_compilation():
            assert start_compiling(make) == ""
            assert start_compiling(kernel) == compilation.NOTICE + "\n"
            assert start_compiling(kernel) == ""
            for _ in range(2):
                event.end_event("numba:compile", {"dispatcher": Dispatcher(kernel)})
        assert capsys.readouterr().out == "Compiling took 0.0 s.\n"
    assert start_compiling(kernel) == ""
