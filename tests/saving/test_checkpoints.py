"""Models of every kind are saved and loaded."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError, __version__
from sb3_a2c_td.policies.separate import MlpPolicy
from sb3_a2c_td.saving import read_attributes, read_checkpoint
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.environments import CountingEnv, DictCountingEnv, RandomEnv
from tests.saving.models import ARCHIVE, SMALL, assert_same_model, assert_unreadable, load, saved, small, tensors
from tests.saving.pickles import (
    PAYLOADS,
    Reduced,
    attributes_of,
    contents,
    dumps,
    files_of,
    pickle_of,
    with_file,
    with_json,
    with_pickle,
)

VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
TWO = spaces.Discrete(2)
LINEAR = LinearSchedule(1e-3, 1e-4, 1.0)


class NumpyInfos(RandomEnv):
    """Returns numpy's numbers everywhere."""

    def step(self, action: Any):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, np.float32(reward), np.bool_(terminated), truncated, {**info, "found": np.float32(1)}


class WithAttributes(TDA2C):
    """Has more attributes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen = {"tensors": [th.ones(2)], "numbers": {1, 2}, "dtype": th.float32}


def mlp(env: Any, **kwargs: Any) -> TDA2C:
    return TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs)


def on(observations: spaces.Space[Any], actions: spaces.Space[Any], policy: str = "MlpPolicy", **kwargs: Any) -> TDA2C:
    return TDA2C(policy, RandomEnv(observations, actions), seed=0, device="cpu", **kwargs)


MODELS: dict[str, Callable[[], TDA2C]] = {
    "box": lambda: on(VECTOR, TWO),
    "box float64": lambda: on(spaces.Box(np.zeros((3, 2)).T, np.ones((2, 3)), dtype=np.float64), TWO),
    "discrete": lambda: on(spaces.Discrete(4), TWO),
    "multi-discrete": lambda: on(spaces.MultiDiscrete([3, 2]), TWO),
    "multi-binary": lambda: on(spaces.MultiBinary([2, 3]), TWO),
    "dict": lambda: on(
        spaces.Dict(a=IMAGE, b=TWO, c=spaces.MultiBinary(2), d=VECTOR),
        TWO,
        "MultiInputPolicy",
        policy_kwargs={"features_extractor_kwargs": {"cnn_output_dim": 4}},
    ),
    "image": lambda: on(IMAGE, TWO, "CnnPolicy", policy_kwargs={"features_extractor_kwargs": {"features_dim": 4}}),
    "continuous actions": lambda: on(VECTOR, spaces.Box(-1, 1, (2,))),
    "multi-discrete actions": lambda: on(VECTOR, spaces.MultiDiscrete([3, 2])),
    "multi-binary actions": lambda: on(VECTOR, spaces.MultiBinary(3)),
    "seeded spaces": lambda: on(spaces.Box(-1, 1, (3,), seed=1), spaces.Discrete(2, seed=np.random.default_rng(3))),
    "several environments": lambda: mlp(make_vec_env("CartPole-v1", 3)),
    "native environments": lambda: mlp(gym.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point")),
    "VecNormalize": lambda: mlp(VecNormalize(DummyVecEnv([lambda: RandomEnv(VECTOR, TWO)]))),
    "numpy's numbers": lambda: mlp(
        Monitor(NumpyInfos(VECTOR, TWO), info_keywords=("found",)),
        gamma=np.float32(0.9),
        reward_scale=np.float64(0.1),
        n_steps=np.int64(3),
    ),
    "gSDE": lambda: mlp(
        "Pendulum-v1", use_sde=True, policy_kwargs={"squash_output": True, "full_std": False, "use_expln": True}
    ),
    "activation": lambda: small(policy_kwargs={"activation_fn": nn.Tanh, "net_arch": {"pi": [2], "vf": [3, 2]}}),
    "other activation": lambda: small(policy_kwargs={"activation_fn": nn.SiLU}),
    "optimizer": lambda: small(
        policy_kwargs={"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"betas": (0.5, 0.9)}}
    ),
    "plain gradients": lambda: small(policy_kwargs={"optimizer_class": th.optim.SGD}),
    "RMSprop": lambda: small(policy_kwargs={"optimizer_class": RMSpropTFLike}),
    "extractor": lambda: small(policy_kwargs={"features_extractor_class": FlattenExtractor}),
    "dict extractor": lambda: TDA2C(
        "MultiInputPolicy",
        DictCountingEnv(7),
        policy_kwargs={"features_extractor_class": CombinedExtractor},
        device="cpu",
    ),
    "policy class": lambda: TDA2C(MlpPolicy, CountingEnv(7), device="cpu"),
    "linear rates": lambda: small(learning_rate=LINEAR, critic_learning_rate=FloatSchedule(LINEAR)),
    "constant rates": lambda: small(learning_rate=ConstantSchedule(1e-3), critic_learning_rate=FloatSchedule(1e-3)),
    "Robbins-Monro rates": lambda: small(learning_rate=robbins_monro_schedule(1.0, 10.0, 0.6)),
    "attributes of a subclass": lambda: WithAttributes("MlpPolicy", CountingEnv(7), device="cpu"),
}


# 23 steps leave an unfinished rollout
@pytest.mark.parametrize(("name", "n_steps"), [("box", 0), *((name, 23) for name in MODELS)])
def test_models_of_every_kind_load(name: str, n_steps: int) -> None:
    model = MODELS[name]().learn(n_steps)
    archive = saved(model)
    loaded, trusted = (
        type(model).load(io.BytesIO(archive), model.get_env(), "cpu", trusted=trusted) for trusted in (False, True)
    )
    assert_same_model(loaded, trusted)
    loaded.learn(8, reset_num_timesteps=False)


def test_zips_from_the_save_method_of_sb3_load() -> None:
    file = io.BytesIO()
    OnPolicyAlgorithm.save(SMALL, file)
    checkpoint = read_checkpoint(file)
    assert checkpoint.training_state is None
    assert_same_model(load(file.getvalue()), SMALL)


def test_paths_and_open_files_load(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(ARCHIVE)
    for path in (tmp_path / "model", tmp_path / "model.zip", str(tmp_path / "model")):
        assert_same_model(TDA2C.load(path, device="cpu"), SMALL)
    with (tmp_path / "model.zip").open("rb") as file:
        file.seek(100)
        assert_same_model(TDA2C.load(file, device="cpu"), SMALL)
        assert not file.closed
    with pytest.raises(FileNotFoundError):
        TDA2C.load(tmp_path / "other", device="cpu")


def test_settings_can_be_changed_on_loading() -> None:
    assert load(ARCHIVE, gamma=0.5).gamma == 0.5
    with pytest.raises(ValueError, match="gamma must be") as raised:
        load(ARCHIVE, gamma=2.0)
    assert type(raised.value) is ValueError
    assert raised.value.__notes__ == ["while the file was loaded"]
    with pytest.raises(ValueError, match="The specified policy kwargs do not equal"):
        load(ARCHIVE, policy_kwargs={"net_arch": [4]})


def test_errors_of_custom_code_are_not_changed() -> None:
    class Custom(TDA2C):
        def _setup_model(self) -> None:
            raise KeyError("custom")

    with pytest.raises(KeyError, match="custom"):
        Custom.load(io.BytesIO(ARCHIVE), trusted=True)


def test_the_checked_content_is_what_is_loaded() -> None:
    checkpoint = read_checkpoint(io.BytesIO(ARCHIVE))
    found = contents(checkpoint.file.getvalue())
    assert found == contents(ARCHIVE)
    assert json.loads(found["sb3_a2c_td.json"]) == {"format": 2, "version": __version__}
    assert checkpoint.training_state == found["training_state.pkl"]
    assert checkpoint.data.keys() == json.loads(found["data"]).keys()
    assert checkpoint.data["policy_kwargs"] == {"net_arch": [2]}


def test_single_attributes_are_read_without_unpickling_the_others(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = io.BytesIO(with_pickle(ARCHIVE, "policy_class", PAYLOADS["a call"](str(canary))))
    assert read_attributes(file, ["gamma", "num_timesteps", "unknown"]) == {"gamma": SMALL.gamma, "num_timesteps": 13}
    with pytest.raises(UntrustedCheckpointError, match="policy_class holds"):
        read_attributes(file, ["gamma", "policy_class"])
    assert not canary.exists()


def test_the_system_info_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    archive = with_file(ARCHIVE, "system_info.txt", b"- OS: \x1b[2J\n- Python: \xff3\n" + b"x" * 10**6)
    for trusted in (False, True):
        load(archive, print_system_info=True, trusted=trusted)
        printed = capsys.readouterr().out
        assert "- OS: ?[2J\n- Python: \ufffd3\n" in printed
        assert "\x1b" not in printed
        assert len(printed) < 20_000


def test_labels_of_a_box_are_not_believed() -> None:
    """They are printed in place of its bounds."""
    space = spaces.Box(0, np.inf, (2,), np.float32)
    label = "\x1b[2J" * 1000
    pickled = dumps(Reduced(spaces.Box, (), {**vars(space), "low_repr": label, "high_repr": label}))
    assert str(load(with_pickle(ARCHIVE, "observation_space", pickled)).observation_space) == str(space)


def test_errors_cannot_control_the_terminal() -> None:
    weights = {**SMALL.policy.state_dict(), "\x1b[2J": th.zeros(1)}
    with pytest.raises(UnreadableCheckpointError, match="Unexpected key") as raised:
        load(with_file(ARCHIVE, "policy.pth", tensors(weights)))
    assert "\x1b" not in str(raised.value)


@pytest.mark.skipif(os.name != "posix", reason="devices are files on POSIX only")
def test_devices_are_not_read(tmp_path: Path) -> None:
    """Some never end, or wait forever for someone who writes."""
    (tmp_path / "model.zip").symlink_to("/dev/null")
    for name in ("model.zip", "model"):
        with pytest.raises(UnreadableCheckpointError, match="model.zip: it is not a regular file"):
            TDA2C.load(tmp_path / name)


# Models that do not fit


@pytest.mark.parametrize("other", [A2C, PPO])
def test_models_of_other_algorithms_are_refused(other: Any) -> None:
    assert_unreadable(saved(other("MlpPolicy", CountingEnv(7), device="cpu")), "another algorithm than TDA2C saved it")


@pytest.mark.parametrize("key", ["observation_space", "action_space"])
def test_spaces_must_be_spaces(key: str) -> None:
    for archive in (with_json(ARCHIVE, key, 5), with_pickle(ARCHIVE, key, dumps(nn.Tanh))):
        assert_unreadable(archive, f"its {key} is not a space")


def test_spaces_must_fit_the_environment_and_the_weights() -> None:
    with pytest.raises(ValueError, match="Observation spaces do not match") as raised:
        load(ARCHIVE, env=DictCountingEnv(7))
    assert type(raised.value) is ValueError
    other = saved(on(spaces.Box(-1, 1, (5,)), TWO, policy_kwargs={"net_arch": [2]}))
    with pytest.raises(UnreadableCheckpointError, match="do not fit together(.|\n)*size mismatch"):
        load(with_pickle(ARCHIVE, "observation_space", pickle_of(other, "observation_space")))
    with pytest.raises(UnreadableCheckpointError, match="do not fit together"):
        load(with_file(ARCHIVE, "policy.pth", files_of(other)["policy.pth"]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policy_class", 5),
        ("policy_class", {"a": 1}),
        ("policy_kwargs", 5),
        ("verbose", None),
        ("n_envs", "text"),
        ("seed", [1]),
        ("rollout_buffer", None),
    ],
)
def test_attributes_of_other_types_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"its attribute '{key}' is a "):
        load(with_json(ARCHIVE, key, value))


@pytest.mark.parametrize("name", ["policy_kwargs", "policy_class", "observation_space"])
def test_missing_attributes_are_noticed(name: str) -> None:
    attributes = attributes_of(ARCHIVE)
    del attributes[name]
    with pytest.raises(UnreadableCheckpointError, match="the file: "):
        load(with_file(ARCHIVE, "data", json.dumps(attributes).encode()))


def test_modules_of_a_subclass_load() -> None:
    class WithModule(TDA2C):
        def _setup_model(self) -> None:
            super()._setup_model()
            self.extra = th.nn.Linear(2, 3)
            self.scale = th.ones(2)

        def _excluded_save_params(self) -> list[str]:
            return [*super()._excluded_save_params(), "extra", "scale"]

        def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
            modules, variables = super()._get_torch_save_params()
            return [*modules, "extra"], [*variables, "scale"]

    model = WithModule("MlpPolicy", CountingEnv(7), policy_kwargs={"net_arch": [2]}, device="cpu")
    model.scale += 1
    loaded = WithModule.load(io.BytesIO(saved(model)), device="cpu")
    th.testing.assert_close(loaded.extra.state_dict(), model.extra.state_dict())
    assert loaded.scale.tolist() == [2.0, 2.0]
    with pytest.raises(UnreadableCheckpointError, match="an entry 'extra.pth'"):
        load(saved(model))


def test_long_settings_are_cut_in_errors() -> None:
    with pytest.raises(UnreadableCheckpointError, match="engine must be one of") as raised:
        load(with_json(ARCHIVE, "engine", "y" * 10**6))
    assert len(str(raised.value)) < 5_000


def test_settings_that_the_policy_refuses_are_refused() -> None:
    with pytest.raises(ValueError, match="^net_arch='text': use a list") as raised:
        load(with_json(ARCHIVE, "policy_kwargs", {"net_arch": "text"}))
    assert raised.value.__notes__ == ["while the file was loaded"]
