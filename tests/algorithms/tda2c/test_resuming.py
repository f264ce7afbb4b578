"""A training that was saved and resumed equals the uninterrupted one, bit for bit."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule, set_random_seed
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import make_compiled_vec_env
from sb3_a2c_td.engines.auto import MIN_STEPS_TO_COMPILE
from sb3_a2c_td.saving import generators
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.tda2c.test_collecting import StopAt
from tests.engines import CPU_ENGINES
from tests.environments import DictCountingEnv
from tests.saving.comparing import differences, everything

N_FIRST, N_THEN = 303, 398

TRAININGS: dict[str, tuple[Callable[[int], Any], dict[str, Any]]] = {
    "one environment": (lambda seed: make_vec_env("CartPole-v1", seed=seed), {}),
    "several": (lambda seed: make_vec_env("Acrobot-v1", 3, seed=seed), {"n_steps": 7}),
    "VecNormalize": (
        lambda seed: VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", 2, seed=seed), 3)),
        {"max_grad_norm": 0.5, "normalize_advantage": True},
    ),
    "continuous": (lambda seed: make_vec_env("Pendulum-v1", seed=seed), {"bootstrap_on_truncation": True}),
    "gSDE": (
        lambda seed: make_vec_env("Pendulum-v1", 3, seed=seed),
        {"use_sde": True, "sde_sample_freq": 4, "n_steps": 9},
    ),
    "dicts": (lambda seed: make_vec_env(lambda: DictCountingEnv(7), 2, seed=seed), {"policy": "MultiInputPolicy"}),
    "native": (
        lambda seed: gym.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point"),
        {"update_on_episode_end": True},
    ),
    "compiled": (lambda seed: make_compiled_vec_env("sb3_a2c_td/CartPole-v1", 3, seed), {}),
    "compiled, VecNormalize": (
        lambda seed: VecNormalize(make_compiled_vec_env("sb3_a2c_td/Pendulum-v1", 1, seed)),
        {"bootstrap_on_truncation": True},
    ),
}


def make(training: str, seed: int = 0, **kwargs: Any) -> TDA2C:
    make_env, settings = TRAININGS[training]
    kwargs = {"policy": "MlpPolicy", "seed": seed, "device": "cpu", **settings, **kwargs}
    return TDA2C(env=make_env(seed), **kwargs)


@pytest.mark.parametrize(
    ("training", "engine"),
    [
        *((training, "auto") for training in TRAININGS),
        *(
            (training, engine)
            for training in ("one environment", "continuous")
            for engine in CPU_ENGINES
            if engine != "auto"
        ),
    ],
)
def test_a_resumed_training_is_the_uninterrupted_one(training: str, engine: str, tmp_path: Path) -> None:
    """Resumed on other environments, with the generators in other states, from anywhere in a rollout."""
    expected = everything(make(training, engine=engine).learn(N_FIRST + N_THEN))
    make(training, engine=engine).learn(N_FIRST).save(tmp_path / "model")
    other = make(training, seed=1).learn(50)
    model = TDA2C.resume(tmp_path / "model", other.env, device="cpu")
    n_left = N_FIRST + N_THEN - model.num_timesteps
    assert differences(everything(model.learn(n_left, reset_num_timesteps=False)), expected) == []


@pytest.mark.parametrize("n_first", [303, 503])
def test_a_resumed_training_changes_engines_at_the_same_update(n_first: int, tmp_path: Path) -> None:
    """``"auto"`` changes to numba after 200 updates: here before or after the model is saved."""
    end = MIN_STEPS_TO_COMPILE
    whole = make("one environment", n_steps=2).learn(end, StopAt(700))
    assert str(whole._engine._engine) == "numba"
    expected = everything(whole)
    first = make("one environment", n_steps=2).learn(end, StopAt(n_first))
    assert (first._n_updates > 200) == (n_first == 503)
    first.save(tmp_path / "model")
    model = TDA2C.resume(tmp_path / "model", make("one environment", seed=1).env, device="cpu")
    model.learn(end - n_first, StopAt(700), reset_num_timesteps=False)
    # fewer steps remain than numba needs, but the whole training is long enough
    assert differences(everything(model), expected) == []


def test_a_loaded_training_is_not_the_uninterrupted_one(tmp_path: Path) -> None:
    """The comparison above notices what ``load`` leaves out."""
    expected = everything(make("one environment").learn(N_FIRST + N_THEN))
    make("one environment").learn(N_FIRST).save(tmp_path / "model")
    model = TDA2C.load(tmp_path / "model", make("one environment", seed=1).env, device="cpu")
    found = everything(model.learn(N_THEN, reset_num_timesteps=False))
    assert {"weights", "moments", "generators", "next steps"} <= set(differences(found, expected))


@pytest.mark.parametrize("training", ["one environment", "gSDE"])
def test_a_callbacks_checkpoint_resumes_with_its_schedules(training: str, tmp_path: Path) -> None:
    schedules = {"learning_rate": LinearSchedule(1e-3, 0, 1.0), "critic_learning_rate": LinearSchedule(3e-3, 1e-4, 0.5)}
    whole = make(training, **schedules)
    expected = everything(whole.learn(700))
    stopped = make(training, **schedules)
    stopped.learn(700, CheckpointCallback(save_freq=307 // whole.n_envs, save_path=str(tmp_path)))
    path = min(tmp_path.iterdir(), key=lambda path: int(path.stem.split("_")[2]))
    model = TDA2C.resume(path, make(training, seed=1).env, device="cpu")
    assert 290 < model.num_timesteps < 310
    found = everything(model.learn(700 - model.num_timesteps, reset_num_timesteps=False))
    assert differences(found, expected) == []


RESUME = """
import sys
import torch as th
from sb3_a2c_td import TDA2C
from stable_baselines3.common.env_util import make_vec_env
th.set_num_threads(1)
model = TDA2C.resume(sys.argv[1], make_vec_env("CartPole-v1"), device="cpu")
model.learn(int(sys.argv[2]), reset_num_timesteps=False)
model.save(sys.argv[3])
"""


@pytest.mark.slow
def test_a_training_resumed_in_a_new_process(tmp_path: Path) -> None:
    whole = make("one environment").learn(N_FIRST + N_THEN)
    make("one environment").learn(N_FIRST).save(tmp_path / "first")
    command = [sys.executable, "-c", RESUME, str(tmp_path / "first"), str(N_THEN), str(tmp_path / "second")]
    subprocess.run(command, check=True, timeout=120)
    model = TDA2C.load(tmp_path / "second", device="cpu")
    assert_same_parameters(whole, model)
    assert (model.num_timesteps, model._n_updates) == (whole.num_timesteps, whole._n_updates)
    assert [(e["r"], e["l"]) for e in model.ep_info_buffer] == [(e["r"], e["l"]) for e in whole.ep_info_buffer]


def test_loading_leaves_the_global_generators_alone(tmp_path: Path) -> None:
    """SB3's own ``load`` seeds them."""
    make("one environment").save(tmp_path / "model")
    env = make_vec_env("CartPole-v1")
    set_random_seed(5)
    before = generators.states()
    TDA2C.load(tmp_path / "model", env, device="cpu")
    np.testing.assert_equal(generators.states(), before)
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "a2c")
    A2C.load(tmp_path / "a2c", device="cpu")
    with pytest.raises(AssertionError):
        np.testing.assert_equal(generators.states(), before)


def test_saving_leaves_the_training_alone(tmp_path: Path) -> None:
    saved = make("gSDE").learn(90, CheckpointCallback(save_freq=1, save_path=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 30
    assert differences(everything(saved), everything(make("gSDE").learn(90))) == []


# Environments that cannot be restored


@pytest.mark.parametrize(
    ("make_env", "reason"),
    [
        pytest.param(lambda seed: make_vec_env("LunarLander-v3", seed=seed), "world", id="Box2D"),
        pytest.param(
            lambda seed: make_vec_env("CartPole-v1", 2, seed=seed, vec_env_cls=SubprocVecEnv),
            "SubprocVecEnv",
            id="SubprocVecEnv",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda seed: gym.make_vec("CartPole-v1", 2, vectorization_mode="async"),
            "GymnasiumVecEnv",
            id="AsyncVectorEnv",
        ),
    ],
)
def test_environments_that_cannot_be_restored_begin_an_episode(
    make_env: Callable[[int], Any], reason: str, tmp_path: Path
) -> None:
    """It is always the same episode. Statistics, transitions and everything else are restored."""

    def normalized(env: Any) -> VecNormalize:
        return VecNormalize(TDA2C._wrap_env(env, monitor_wrapper=False))

    def resume() -> TDA2C:
        with pytest.warns(UserWarning, match=f"episode, .*{reason}"):
            model = TDA2C.resume(tmp_path / "model", normalized(make_env(3)), device="cpu")
        model.learn(100, reset_num_timesteps=False)
        model.env.close()
        return model

    first = TDA2C("MlpPolicy", normalized(make_env(0)), n_steps=8, seed=0, device="cpu").learn(205)
    first.save(tmp_path / "model")
    first.env.close()
    one, other = resume(), resume()
    assert_same_parameters(one, other)
    assert one.env.obs_rms.count == other.env.obs_rms.count > first.env.obs_rms.count
    assert one.num_timesteps == first.num_timesteps + 100


def test_every_checkpoint_begins_different_episodes(tmp_path: Path) -> None:
    """Where environments cannot be restored, even if only PyTorch draws in between, as it does for gSDE."""
    model = TDA2C("MlpPolicy", make_vec_env("LunarLanderContinuous-v3", seed=0), use_sde=True, seed=0, device="cpu")
    seeds = []
    for _ in range(4):
        model.learn(25, reset_num_timesteps=False).save(tmp_path / "model")
        env = make_vec_env("LunarLanderContinuous-v3")
        with pytest.warns(UserWarning, match="training .* episode, "):
            TDA2C.resume(tmp_path / "model", env, device="cpu")
        seeds.append(env._seeds[0])
    assert len(set(seeds)) == 4
