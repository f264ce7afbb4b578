"""The normalization of ``VecNormalize``, from environments and from its files."""

import os
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.export import export_actor, read_normalization
from sb3_a2c_td.vec_env.normalization import RunningNormalization
from tests.environments import RandomEnv
from tests.saving.pickles import PAYLOADS, Named, New, Reduced, dumps

VECTOR = spaces.Box(-5, 20, (3,), np.float64)
IMAGE = spaces.Box(0, 255, (4, 36, 36), np.uint8)
SPACES: dict[str, tuple[spaces.Space[Any], dict[str, Any]]] = {
    "vector": (VECTOR, {}),
    "image": (IMAGE, {"clip_obs": 2.0}),
    "dict": (spaces.Dict({"a": VECTOR, "b": IMAGE}), {}),
    "some keys": (spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}), {"norm_obs_keys": ["a"]}),
    "none": (VECTOR, {"norm_obs": False}),
    "none of a dict": (spaces.Dict({"a": VECTOR}), {"norm_obs": False}),
}


def stepped(space: spaces.Space[Any], **kwargs: Any) -> VecNormalize:
    env = VecNormalize(DummyVecEnv([lambda: RandomEnv(space, spaces.Discrete(2))] * 2), **kwargs)
    env.reset()
    for _ in range(20):
        env.step([0, 1])
    return env


@pytest.mark.skipif(os.name != "posix", reason="devices are files on POSIX only")
def test_devices_are_not_read(tmp_path: Path) -> None:
    """Some never end, or wait forever for someone who writes."""
    (tmp_path / "vecnormalize.pkl").symlink_to("/dev/null")
    with pytest.raises(UnreadableCheckpointError, match="vecnormalize.pkl: it is not a regular file"):
        read_normalization(tmp_path / "vecnormalize.pkl")


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", SPACES)
def test_normalizes_like_vec_normalize(name: str, tmp_path: Path) -> None:
    space, kwargs = SPACES[name]
    env = stepped(space, **kwargs)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    space.seed(1)
    samples = [space.sample() for _ in range(9)]
    rows = (
        {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
        if isinstance(space, spaces.Dict)
        else np.stack(samples)
    )
    for normalization in (
        RunningNormalization.of(env).of_observations,
        read_normalization(tmp_path / "vecnormalize.pkl"),
    ):
        assert_same(normalization.normalized(rows), env.normalize_obs(rows))
        around = normalization.around(stepped(space, training=False, norm_obs=False).venv)
        assert_same(around.normalize_obs(rows), env.normalize_obs(rows))
        assert around.observation_space == env.observation_space


def test_wrapped_environments_return_the_same_rewards_and_keep_the_statistics() -> None:
    normalization = RunningNormalization.of(stepped(VECTOR)).of_observations
    env = normalization.around(stepped(VECTOR).venv)
    for _ in range(20):
        observations, rewards, _, _ = env.step([0, 1])
        np.testing.assert_array_equal(observations, normalization.normalized(env.get_original_obs()))
        np.testing.assert_array_equal(rewards, env.get_original_reward())


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (4,)), spaces.Dict({"a": VECTOR}), spaces.Discrete(3)])
def test_environments_with_other_observations_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"statistics are of observations of shape \(3,\) under 'observation'"):
        RunningNormalization.of(stepped(VECTOR)).of_observations.around(stepped(space, norm_obs=False).venv)


def with_attribute(name: str, value: Any) -> bytes:
    """Return a file of ``VecNormalize.save`` with another attribute."""
    attributes = {**stepped(VECTOR).__getstate__(), name: value}
    return dumps(New(VecNormalize, (), attributes))


@pytest.mark.parametrize(
    ("payload", "asked_for"),
    [("a call", f"{os.mkdir.__module__}.mkdir"), ("a state", "functools.partial"), ("INST", "a call of os.mkdir")],
)
def test_payloads_do_not_run(payload: str, asked_for: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "ran", tmp_path / "vecnormalize.pkl"
    path.write_bytes(PAYLOADS[payload](str(canary)))
    with pytest.raises(UntrustedCheckpointError, match=f"vecnormalize.pkl: it asks for {asked_for}, which"):
        read_normalization(path)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["obs_rms", "epsilon", "render_mode", "unknown"])
def test_payloads_in_attributes_do_not_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(with_attribute(name, Reduced(Named("os", "mkdir"), (str(tmp_path / "ran"),))))
    with pytest.raises(UntrustedCheckpointError, match="vecnormalize.pkl: it asks for os.mkdir"):
        read_normalization(path)
    assert not (tmp_path / "ran").exists()


def test_the_files_of_these_tests_are_like_those_of_vec_normalize(tmp_path: Path) -> None:
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(with_attribute("epsilon", 0.5))
    assert read_normalization(path).epsilon == 0.5
    with path.open("rb") as file:
        assert pickle.load(file).epsilon == 0.5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps({"obs_rms": 1}),
        pickle.dumps([1]),
        dumps(New(VecNormalize, (), {"norm_obs": True})),
        with_attribute("obs_rms", {"mean": np.zeros(3), "var": "ones"}),
        with_attribute("obs_rms", {"mean": np.zeros(3, np.int64), "var": np.ones(3)}),
        with_attribute("epsilon", "small"),
    ],
    ids=["empty", "text", "a dict", "a list", "no statistics", "a text", "integers", "no number"],
)
def test_damage_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(content)
    with pytest.raises(
        UnreadableCheckpointError, match="vecnormalize.pkl: it is damaged, or not a file of VecNormalize"
    ):
        read_normalization(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", np.full(3, np.nan), "statistics that are not finite"),
        ("var", np.full(3, np.inf), "statistics that are not finite"),
        ("var", np.full(3, -1.0), "a negative variance"),
        ("var", np.ones(2), "of two shapes"),
        ("mean", np.ones((3, 1)), "of two shapes"),
        ("count", np.inf, "statistics that are not finite"),
        ("count", 10**400, "statistics that are not finite"),
    ],
)
def test_invalid_statistics_are_refused(name: str, value: np.ndarray, message: str, tmp_path: Path) -> None:
    env = stepped(VECTOR)
    setattr(env.obs_rms, name, value)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    with pytest.raises(UnreadableCheckpointError, match=message):
        read_normalization(tmp_path / "vecnormalize.pkl")


FAULTS = [
    *(("epsilon", -1.0), ("epsilon", np.nan), ("epsilon", np.inf), ("gamma", np.nan), ("gamma", 2.0)),
    *(("clip_obs", -1.0), ("clip_obs", np.nan), ("clip_reward", -1.0), ("clip_reward", np.nan)),
]


@pytest.mark.parametrize(("name", "value"), FAULTS)
def test_invalid_settings_are_refused_from_every_source(name: str, value: float, tmp_path: Path) -> None:
    env = stepped(VECTOR)
    setattr(env, name, value)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    with pytest.raises(UnreadableCheckpointError, match=f"{name}={value}"):
        read_normalization(tmp_path / "vecnormalize.pkl")
    TDA2C("MlpPolicy", env, device="cpu").save(tmp_path / "trained_in_it")
    with pytest.raises(UnreadableCheckpointError, match=f"{name}={value}"):
        TDA2C.load(tmp_path / "trained_in_it", device="cpu")
    model = TDA2C("MlpPolicy", env.venv, normalize_observations=True, normalize_rewards=True, device="cpu")
    setattr(model.normalization, name, value)
    model.save(tmp_path / "normalizing")
    with pytest.raises(UntrustedCheckpointError, match="a RunningNormalization whose parts do not match"):
        TDA2C.load(tmp_path / "normalizing", device="cpu")


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_infinity_clips_nothing(to: Literal["onnx", "safetensors"], tmp_path: Path) -> None:
    env = stepped(VECTOR)
    env.clip_obs = env.clip_reward = np.inf
    env.save(str(tmp_path / "vecnormalize.pkl"))
    assert read_normalization(tmp_path / "vecnormalize.pkl").clip_obs == np.inf
    TDA2C("MlpPolicy", env, device="cpu").save(tmp_path / "model")
    with pytest.warns(UserWarning, match="was trained in VecNormalize"):
        model = TDA2C.load(tmp_path / "model", device="cpu")
    assert model.normalization is not None
    assert model.normalization.clip_reward == np.inf
    # it compares the actor in the file with the model
    export_actor(model, tmp_path / "actor", to)
