"""What models record about their environments, and what the command line makes of it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TransformReward
from gymnasium.wrappers.vector import TransformObservation
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.compiled import make_compiled_vec_env
from tests.environments import CountingEnv

SHORT = {"id": "CartPole-v1", "kwargs": {"max_episode_steps": 50}}
COMPILED_SHORT = {"id": "sb3_a2c_td/CartPole-v1", "kwargs": {"max_episode_steps": 7}}
COMPILED_ENDLESS = {"id": "sb3_a2c_td/CartPole-v1", "kwargs": {"max_episode_steps": -1}}
LIGHT = {"id": "Pendulum-v1", "kwargs": {"g": 5.0}}


@pytest.fixture(autouse=True)
def _id_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        gym.registry, "Named-v0", EnvSpec("Named-v0", "tests.environments:CountingEnv", kwargs={"length": 7})
    )


def with_unpicklable_spec() -> gym.Env:
    env = CountingEnv(7)
    env.spec = lambda: None
    return env


@pytest.mark.parametrize(
    ("make", "recorded"),
    [
        (lambda: "CartPole-v1", {"id": "CartPole-v1", "kwargs": {}}),
        (lambda: gym.make("Pendulum-v1", g=5.0, render_mode="rgb_array"), LIGHT),
        (lambda: make_vec_env("Pendulum-v1", 2, env_kwargs={"g": 5.0}), LIGHT),
        (lambda: make_vec_env("Pendulum-v1", 2, env_kwargs={"g": 5.0}, vec_env_cls=SubprocVecEnv), None),
        (lambda: gym.make_vec("Pendulum-v1", 2, "sync", g=5.0), LIGHT),
        (lambda: VecNormalize(make_vec_env("Pendulum-v1", env_kwargs={"g": 5.0})), LIGHT),
        (lambda: gym.make("CartPole-v1", max_episode_steps=50), SHORT),
        (lambda: SubprocVecEnv([with_unpicklable_spec]), None),
        (lambda: gym.make("Named-v0"), {"id": "tests.environments:Named-v0", "kwargs": {}}),
        (lambda: gym.make("Named-v0", length=8), {"id": "tests.environments:Named-v0", "kwargs": {"length": 8}}),
        (lambda: make_compiled_vec_env("sb3_a2c_td/Pendulum-v1", 2), {"id": "sb3_a2c_td/Pendulum-v1", "kwargs": {}}),
        (lambda: gym.make_vec("sb3_a2c_td/CartPole-v1", 2, max_episode_steps=np.int64(7)), COMPILED_SHORT),
        (lambda: gym.make("sb3_a2c_td/CartPole-v1", max_episode_steps=-1), COMPILED_ENDLESS),
        (lambda: gym.make_vec("sb3_a2c_td/CartPole-v1", 2, max_episode_steps=-1), COMPILED_ENDLESS),
        # what Gymnasium could not make again
        (lambda: TransformReward(gym.make("CartPole-v1"), lambda reward: reward / 2), None),
        (lambda: TransformObservation(gym.make_vec("CartPole-v1", 2, "sync"), np.negative), None),
        (lambda: VecFrameStack(make_vec_env("CartPole-v1"), 2), None),
        (lambda: DummyVecEnv([lambda: CountingEnv(7)]), None),
        (lambda: gym.make("FrozenLake-v1", desc=np.array([["S", "F"], ["F", "G"]])), None),
    ],
    ids=(
        "id",
        "make",
        "vec",
        "processes",
        "make_vec",
        "normalized",
        "steps",
        "unpicklable",
        "registered",
        "module",
        "compiled",
        "compiled-steps",
        "endless",
        "compiled-endless",
        "wrapper",
        "vector-wrapper",
        "frames",
        "class",
        "array",
    ),
)
def test_model_records_its_environment(
    make: Callable[[], Any], recorded: dict[str, Any] | None, tmp_path: Path
) -> None:
    env = make()
    model = TDA2C("MlpPolicy", env, device="cpu")
    model.save(tmp_path / "model")
    assert model.trained_on == recorded
    with warnings.catch_warnings():
        # the statistics of VecNormalize move into the model
        warnings.simplefilter("ignore")
        assert TDA2C.load(tmp_path / "model", device="cpu").trained_on == recorded
    if not isinstance(env, str):
        env.close()


def test_the_record_is_of_the_last_training(tmp_path: Path) -> None:
    TDA2C("MlpPolicy", "sb3_a2c_td/CartPole-v1", device="cpu").save(tmp_path / "model")
    model = TDA2C.load(tmp_path / "model", "CartPole-v1", device="cpu")
    assert model.trained_on == {"id": "sb3_a2c_td/CartPole-v1", "kwargs": {}}
    model.learn(10)
    assert model.trained_on == {"id": "CartPole-v1", "kwargs": {}}
