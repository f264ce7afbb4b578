"""Saved models are inspected through ``read_contents``."""

import inspect
import io
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.torch_layers import FlattenExtractor

import sb3_a2c_td
from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from sb3_a2c_td.saving import Contents, read_contents
from tests.environments import CountingEnv, RandomEnv
from tests.saving.models import saved, tensors
from tests.saving.pickles import PAYLOADS, Reduced, attributes_of, dumps, files_of, with_file, with_pickle, zipped

IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)


def contents_of(archive: bytes) -> Contents:
    return read_contents(io.BytesIO(archive))


ARCHIVE = saved(TDA2C("MlpPolicy", CountingEnv(7), n_steps=4, gamma=0.9, seed=3, device="cpu").learn(13))
ALGORITHMS: dict[str, Any] = {
    "a2c": lambda: A2C("MlpPolicy", CountingEnv(7), device="cpu").learn(5),
    "ppo": lambda: PPO("CnnPolicy", RandomEnv(IMAGE, spaces.Discrete(2)), n_steps=8, batch_size=8, device="cpu"),
    "dqn": lambda: DQN("MlpPolicy", CountingEnv(7), buffer_size=10, device="cpu"),
    "sac": lambda: SAC("MlpPolicy", gym.make("Pendulum-v1"), buffer_size=10, device="cpu"),
}


def test_reads_the_attributes() -> None:
    contents = contents_of(ARCHIVE)
    model = TDA2C.load(io.BytesIO(ARCHIVE), device="cpu")
    assert contents.is_of_tda2c
    assert contents.unread == {}
    assert contents.attributes["observation_space"] == model.observation_space
    assert contents.attributes["action_space"] == model.action_space
    assert contents.attributes["num_timesteps"] == 13
    assert {key: contents.settings[key] for key in ("n_steps", "gamma", "seed", "critic_learning_rate")} == {
        "n_steps": 4,
        "gamma": 0.9,
        "seed": 3,
        "critic_learning_rate": 1e-3,
    }
    assert contents.settings["policy_class"] is sb3_a2c_td.MlpPolicy
    arguments = inspect.signature(sb3_a2c_td.TDA2C).parameters
    assert contents.settings.keys() - arguments == {"policy_class", "n_envs", "trained_on"}
    assert not {"num_timesteps", "observation_space", "_last_obs", "rollout_buffer"} & contents.settings.keys()
    assert contents.sizes == {name: len(content) for name, content in files_of(ARCHIVE).items()}


def test_reads_the_versions() -> None:
    assert (
        contents_of(ARCHIVE).versions.items()
        >= {
            "sb3-a2c-td": sb3_a2c_td.__version__,
            "PyTorch": th.__version__,
            "Gymnasium": gym.__version__,
        }.items()
    )
    files = files_of(ARCHIVE)
    old = {name: content for name, content in files.items() if name != "system_info.txt"}
    versions = contents_of(zipped({**old, "sb3_a2c_td.json": b'{"format": 1}'})).versions
    assert versions == {"sb3-a2c-td": "unknown", "Stable-Baselines3": files["_stable_baselines3_version"].decode()}


def test_reads_the_tensors() -> None:
    contents = contents_of(ARCHIVE)
    policy = TDA2C.load(io.BytesIO(ARCHIVE), device="cpu").policy
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in contents.tensors["policy.pth"].items()}
    assert found == {name: (tensor.shape, tensor.dtype) for name, tensor in policy.state_dict().items()}
    # obs 2 -> 32 -> 16 -> 2 actions, and obs 2 -> 32 -> 16 -> 16 -> 1 value
    assert contents.network_sizes == {
        "actor": 3 * 32 + 33 * 16 + 17 * 2,
        "critic": 3 * 32 + 33 * 16 + 17 * 16 + 17,
    }
    assert contents.tensors["policy.optimizer.pth"]["state.0.exp_avg"].shape == (32, 2)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_reads_models_of_other_algorithms(name: str) -> None:
    model = ALGORITHMS[name]()
    contents = contents_of(saved(model))
    assert not contents.is_of_tda2c
    assert contents.attributes["observation_space"] == model.observation_space
    assert contents.settings["gamma"] == model.gamma
    policy_class = type(model.policy)
    assert contents.unread["policy_class"] == f"{policy_class.__module__}.{policy_class.__qualname__}"
    assert contents.attributes.keys() | contents.unread.keys() == attributes_of(saved(model)).keys()
    # parameters() returns each one once, however many names it has
    assert sum(contents.network_sizes.values()) == sum(param.numel() for param in model.policy.parameters())


def test_shared_parameters_are_counted_once() -> None:
    model = ALGORITHMS["ppo"]()
    shared = sum(param.numel() for param in model.policy.features_extractor.parameters())
    action, value = (
        (net.weight.numel() + net.bias.numel()) for net in (model.policy.action_net, model.policy.value_net)
    )
    assert contents_of(saved(model)).network_sizes == {"actor and critic": shared, "actor": action, "critic": value}
    model = TDA2C("CnnPolicy", RandomEnv(IMAGE, spaces.Discrete(2)), device="cpu")
    assert contents_of(saved(model)).network_sizes == {"actor": shared + action, "critic": shared + value}


@pytest.mark.parametrize("archive", [ARCHIVE, saved(ALGORITHMS["a2c"]())], ids=["tda2c", "a2c"])
def test_runs_no_code_under_any_key(archive: bytes, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    pickled = PAYLOADS["a call"](str(canary))
    keys = [*attributes_of(archive), "unknown_attribute"]
    for key in keys:
        archive = with_pickle(archive, key, pickled)
    contents = contents_of(archive)
    assert contents.unread.keys() == set(keys)
    assert contents.attributes == {}
    assert not canary.exists()


@pytest.mark.parametrize("entry", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
def test_runs_no_code_in_the_place_of_tensors(entry: str, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    files = files_of(tensors({}))
    (pickled,) = (name for name in files if name.endswith("data.pkl"))
    poisoned = zipped({**files, pickled: PAYLOADS["a call"](str(canary))})
    contents = contents_of(with_file(ARCHIVE, entry, poisoned))
    assert contents.unread.keys() == {entry}
    assert entry not in contents.tensors
    assert not canary.exists()


def test_the_training_state_is_not_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    contents = contents_of(with_file(ARCHIVE, "training_state.pkl", PAYLOADS["a call"](str(canary))))
    assert contents.is_of_tda2c
    assert not canary.exists()


def test_names_what_is_asked_for() -> None:
    archive = with_pickle(ARCHIVE, "gamma", dumps(Reduced(os.system, ("true",))))
    assert contents_of(archive).unread == {"gamma": f"{os.system.__module__}.system"}

    class Extractor(FlattenExtractor):
        """A custom class."""

    kwargs = {"features_extractor_class": Extractor}
    model = TDA2C("MlpPolicy", CountingEnv(7), policy_kwargs=kwargs, device="cpu", learning_rate=lambda left: left)
    unread = contents_of(saved(model)).unread
    assert unread.keys() == {"policy_kwargs", "learning_rate", "lr_schedule"}
    assert all("cloudpickle" in what for what in unread.values())


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "damaged"),
        (b"no zip", "damaged"),
        (ARCHIVE[:-100], "damaged"),
        (ARCHIVE[: len(ARCHIVE) // 2], "damaged"),
        (zipped({"policy.pth": b""}), "no entry 'data'"),
        (with_file(ARCHIVE, "evil.py", b""), "an entry 'evil.py'"),
        (with_file(ARCHIVE, "data", b"{"), "'data' is damaged"),
        (with_file(ARCHIVE, "policy.pth", b"no zip"), "in its entry 'policy.pth'.*damaged"),
        (with_file(ARCHIVE, "sb3_a2c_td.json", b"[]"), "'sb3_a2c_td.json' is damaged"),
        (with_pickle(ARCHIVE, "gamma", b"\x80\x04"), "its attribute 'gamma' is a damaged pickle"),
    ],
    ids=["empty", "text", "cut", "half", "no data", "strange entry", "json", "tensors", "manifest", "pickle"],
)
def test_damage_is_named(archive: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(archive)
    with pytest.raises(UnreadableCheckpointError, match=f"model.zip: .*{message}"):
        read_contents(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_contents(tmp_path / "nowhere.zip")
