"""Actors of models that were trained with ``VecNormalize``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from sb3_a2c_td import TDA2C
from sb3_a2c_td.export import ExportError, export_actor
from tests.environments import RandomEnv
from tests.export.models import BOX, DISCRETE, MODELS, VECTOR
from tests.export.running import FORMATS, RUN, assert_same_actions, drawn, run_loaded


def normalizing(space: spaces.Space[Any], actions: spaces.Space[Any] = DISCRETE, **kwargs: Any) -> VecNormalize:
    """Return an environment with statistics of observations far from zero."""
    env = VecNormalize(DummyVecEnv([lambda: RandomEnv(space, actions)]), clip_obs=1.5, **kwargs)
    env.reset()
    for _ in range(50):
        env.step([actions.sample()])
    return env


FAR = spaces.Box(np.array([100, -0.1], np.float32), np.array([120, 0.1], np.float32))


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("normalizes", ["VecNormalize", "the model"])
def test_the_models_own_statistics_are_exported(to: Any, normalizes: str, tmp_path: Path) -> None:
    plain = DummyVecEnv([lambda: RandomEnv(FAR, VECTOR)])
    if normalizes == "VecNormalize":
        model = TDA2C("MlpPolicy", VecNormalize(plain), seed=0, device="cpu").learn(50)
    else:
        model = TDA2C("MlpPolicy", plain, seed=0, device="cpu", normalize_observations=True).learn(50)
    export_actor(model, tmp_path / "actor", to)
    observations = drawn(FAR)
    expected, _ = model.policy.predict(model.env.normalize_obs(observations), deterministic=True)
    assert np.ptp(expected, axis=0).min() > 0.1
    assert_same_actions(RUN[to](tmp_path / "actor", observations), expected)


def test_statistics_inside_of_other_wrappers_are_refused(tmp_path: Path) -> None:
    model = TDA2C("MlpPolicy", VecFrameStack(normalizing(FAR), 2), seed=0, device="cpu")
    with pytest.raises(ExportError, match="trained in VecNormalize inside of VecFrameStack.*as normalization="):
        export_actor(model, tmp_path / "actor", "safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", FORMATS)
def test_the_file_normalizes_observations(to: Any, tmp_path: Path) -> None:
    env = normalizing(FAR, VECTOR)
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu").learn(50)
    export_actor(model, tmp_path / "actor", to, env)
    observations = drawn(FAR)
    normalized = env.normalize_obs(observations)
    assert (np.abs(normalized) == 1.5).any()
    expected, _ = model.predict(normalized, deterministic=True)
    assert np.ptp(expected, axis=0).min() > 0.1
    assert_same_actions(RUN[to](tmp_path / "actor", observations), expected)


def test_only_some_keys_are_normalized(tmp_path: Path) -> None:
    space = spaces.Dict({"far": FAR, "number": spaces.Discrete(3), "near": VECTOR})
    env = normalizing(space, BOX, norm_obs_keys=["far"])
    model = TDA2C("MultiInputPolicy", env, learning_rate=0.01, seed=0, device="cpu").learn(50)
    export_actor(model, tmp_path / "actor", "safetensors", env)
    observations = drawn(space)
    expected, _ = model.predict(env.normalize_obs(observations), deterministic=True)
    assert_same_actions(run_loaded(tmp_path / "actor", observations), expected)


def test_statistics_of_other_observations_are_refused(tmp_path: Path) -> None:
    for env in (normalizing(spaces.Box(-1, 1, (4,))), normalizing(spaces.Dict({"far": FAR}))):
        with pytest.raises(ExportError, match="normalization does not fit the model's observations: .*shape"):
            export_actor(MODELS["discrete"](), tmp_path / "actor", "safetensors", env)
    assert not list(tmp_path.iterdir())
