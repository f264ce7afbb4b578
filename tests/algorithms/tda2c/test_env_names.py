"""``load``, ``resume`` and ``set_env`` take the name of an environment, as the constructor does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from tests.environments import MaskedEnv
from tests.saving.comparing import differences, everything

UNKNOWN = "NoSuchEnvironment-v0"
MASKED = "Masked-v0"
CASES: dict[str, tuple[type[TDA2C], str, str, dict[str, Any]]] = {
    "TDA2C": (TDA2C, "MlpPolicy", "CartPole-v1", {}),
    "MaskableTDA2C": (MaskableTDA2C, "MlpPolicy", MASKED, {}),
    "RecurrentTDA2C": (RecurrentTDA2C, "MlpLstmPolicy", "CartPole-v1", {"policy_kwargs": {"lstm_hidden_size": 8}}),
}


@pytest.fixture(autouse=True)
def _masked_env() -> Iterator[None]:
    gym.register(MASKED, lambda: MaskedEnv(spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(5), takes_all=True))
    yield
    gym.registry.pop(MASKED)


def make(name: str, env: Any = None) -> TDA2C:
    algorithm, policy, env_id, kwargs = CASES[name]
    return algorithm(policy, gym.make(env_id) if env is None else env, n_steps=7, seed=0, device="cpu", **kwargs)


def assert_equal_trainings(named: TDA2C, made: TDA2C) -> None:
    """Check that two models, one with the name of an environment and one with the environment, train alike."""
    assert named.env.envs[0].spec.id == made.env.envs[0].spec.id
    found = []
    for model in (named, made):
        model.set_random_seed(5)
        found.append(everything(model.learn(100, reset_num_timesteps=False)))
    assert differences(*found) == []


@pytest.mark.parametrize("name", CASES)
def test_load_takes_a_name(name: str, tmp_path: Path) -> None:
    algorithm, _, env_id, _ = CASES[name]
    make(name).learn(60).save(tmp_path / "model")
    named = algorithm.load(tmp_path / "model", env=env_id, device="cpu")
    made = algorithm.load(tmp_path / "model", env=gym.make(env_id), device="cpu")
    observation = named.observation_space.sample()
    predictions = [model.predict(observation, deterministic=True)[0] for model in (named, made)]
    np.testing.assert_array_equal(*predictions)
    assert_equal_trainings(named, made)
    assert named.num_timesteps == 160


@pytest.mark.parametrize("name", CASES)
def test_resume_takes_a_name(name: str, tmp_path: Path) -> None:
    """Bit for bit, whether the training began with the name of its environment or with the environment."""
    algorithm, _, env_id, _ = CASES[name]
    expected = everything(make(name).learn(300))
    for env in (env_id, gym.make(env_id)):
        make(name, env).learn(130).save(tmp_path / "model")
        model = algorithm.resume(tmp_path / "model", env=env_id, device="cpu")
        assert model.num_timesteps == 130
        found = everything(model.learn(170, reset_num_timesteps=False))
        assert differences(found, expected) == []


@pytest.mark.parametrize("name", CASES)
def test_set_env_takes_a_name(name: str, tmp_path: Path) -> None:
    _, _, env_id, _ = CASES[name]
    named, made = make(name).learn(60), make(name).learn(60)
    named.set_env(env_id)
    made.set_env(gym.make(env_id))
    assert_equal_trainings(named, made)


def test_a_model_loaded_without_an_environment_takes_a_name(tmp_path: Path) -> None:
    make("TDA2C").learn(60).save(tmp_path / "model")
    model = TDA2C.load(tmp_path / "model", device="cpu")
    model.set_env("CartPole-v1")
    assert model.learn(40, reset_num_timesteps=False).num_timesteps == 100


def test_an_unknown_name_raises_gymnasiums_error(tmp_path: Path) -> None:
    model = make("TDA2C").learn(60)
    model.save(tmp_path / "model")
    for take_name in (
        lambda: TDA2C("MlpPolicy", UNKNOWN),
        lambda: TDA2C.load(tmp_path / "model", env=UNKNOWN),
        lambda: TDA2C.resume(tmp_path / "model", env=UNKNOWN),
        lambda: model.set_env(UNKNOWN),
    ):
        with pytest.raises(gym.error.NameNotFound, match="NoSuchEnvironment"):
            take_name()
    # with the environment that it had
    assert model.learn(10, reset_num_timesteps=False).num_timesteps == 70


def test_a_named_environment_with_other_spaces_is_an_error(tmp_path: Path) -> None:
    make("TDA2C").save(tmp_path / "model")
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        TDA2C.load(tmp_path / "model", env="Acrobot-v1")
