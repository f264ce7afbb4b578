"""The attributes of saved models: which need trust, and which are damaged."""

import io
import json
import pickle
from base64 import b64encode
from collections import deque
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule
from torch import nn

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.policies.separate import MlpPolicy
from tests.environments import CountingEnv
from tests.saving.models import ARCHIVE, load, saved, small
from tests.saving.pickles import PAYLOADS, SERIALIZED, attributes_of, dumps, with_file, with_json, with_pickle


def test_functions_as_schedules_need_trust() -> None:
    archive = saved(small(learning_rate=lambda progress: 1e-3 * progress))
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(archive)
    assert str(raised.value) == (
        "the file: it asks for more than models of TDA2C need, and loading it could run code: learning_rate holds the "
        "code of a function or class (cloudpickle.cloudpickle._make_function), lr_schedule holds the code of a "
        "function or class (cloudpickle.cloudpickle._make_function). Replace these attributes with "
        "custom_objects={'learning_rate': ..., 'lr_schedule': ...}, or, if you made the file yourself, load it with "
        "trusted=True"
    )
    assert load(archive, trusted=True).lr_schedule(0.5) == 5e-4
    replaced = load(archive, custom_objects={"learning_rate": 1e-4, "lr_schedule": None})
    assert replaced.lr_schedule(0.5) == 1e-4


class CustomPolicy(MlpPolicy):
    pass


class CustomActivation(nn.ReLU):
    pass


def test_custom_classes_need_trust() -> None:
    model = TDA2C(CustomPolicy, CountingEnv(7), policy_kwargs={"activation_fn": CustomActivation}, device="cpu")
    archive = saved(model)
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(archive)
    assert "policy_class holds tests.saving.test_attributes.CustomPolicy, policy_kwargs holds tests." in str(
        raised.value
    )
    assert type(load(archive, trusted=True).policy) is CustomPolicy
    custom = {"policy_class": CustomPolicy, "policy_kwargs": {"activation_fn": CustomActivation}}
    assert type(load(archive, custom_objects=custom).policy) is CustomPolicy


def test_attributes_with_custom_objects_are_not_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = with_pickle(ARCHIVE, "gamma", PAYLOADS["a call"](str(canary)))
    assert load(archive, custom_objects={"gamma": 0.5, "unknown": 1}).gamma == 0.5
    assert not canary.exists()


def test_no_environment_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3 creates the environment that a file names, and gymnasium imports the module in the name."""
    (tmp_path / "harmful_env.py").write_text("import os; os.mkdir('canary')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    archive = with_json(saved(small(seed=None)), "env", "harmful_env:CartPole-v1")
    with pytest.raises(UntrustedCheckpointError, match="env holds the name of an environment"):
        load(archive)
    assert not (tmp_path / "canary").exists()
    assert load(archive, trusted=True).env == "harmful_env:CartPole-v1"
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "key", ["predict", "set_parameters", "_setup_model", "__init__", "sample_actions", "_collect_step"]
)
def test_methods_are_not_replaced(key: str) -> None:
    """For example by a class, which may be named, and which the model would then call."""
    for archive in (with_pickle(ARCHIVE, key, dumps(nn.Identity)), with_json(ARCHIVE, key, 1)):
        with pytest.raises(UntrustedCheckpointError, match=f"{key} holds a replacement of a method"):
            load(archive)


@pytest.mark.parametrize("serialized", ["?", "gA", 5, None, ["gAROLg=="], "", "gARO"])
def test_damaged_attributes_are_named(serialized: Any) -> None:
    with pytest.raises(UnreadableCheckpointError, match="its attribute 'gamma' is"):
        load(with_json(ARCHIVE, "gamma", {":serialized:": serialized}))


def test_damaged_attributes_of_trusted_files_are_refused() -> None:
    with pytest.raises(UnreadableCheckpointError, match="its entry 'data' is damaged"):
        load(with_pickle(ARCHIVE, "gamma", b"\x80\x04N"), trusted=True)


def test_errors_cannot_control_the_terminal() -> None:
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(with_pickle(ARCHIVE, "gamma", b"cevil\x1b[2J" + b"x" * 100_000 + b"\nname\n."))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 3000


def test_infos_of_episodes_may_be_long() -> None:
    """One text in each of a hundred infos takes its bytes once."""
    model = small().learn(8)
    assert model.ep_info_buffer is not None
    model.ep_info_buffer.extend([{"r": 1.0, "l": 7, "seed": "x" * 6_000}] * 100)
    assert load(saved(model)).ep_info_buffer == model.ep_info_buffer


def test_keys_with_the_same_hash_are_counted_in_all_attributes() -> None:
    attributes = attributes_of(ARCHIVE)
    for i in range(10):
        pickled = pickle.dumps({(2**61 - 1) * j: None for j in range(1_000 * i, 1_000 * (i + 1))})
        attributes[f"attribute{i}"] = {SERIALIZED: b64encode(pickled).decode()}
    with pytest.raises(UnreadableCheckpointError, match="too many keys with the same hash"):
        load(with_file(ARCHIVE, "data", json.dumps(attributes).encode()))


@pytest.mark.parametrize(
    "key",
    [
        "_n_ranks",
        "_interrupts",
        "_engine",
        "_custom_logger",
        "_logger",
        "_vec_normalize_env",
        "policy",
        "policy_aliases",
        "replay_buffer",
    ],
)
def test_attributes_that_no_model_saves_need_trust(key: str) -> None:
    for archive in (with_json(ARCHIVE, key, 0), with_pickle(ARCHIVE, key, dumps({"a": 1}))):
        with pytest.raises(UntrustedCheckpointError, match=f"{key} holds an attribute that no model saves"):
            load(archive)


def test_a_file_does_not_choose_the_device() -> None:
    with pytest.raises(UntrustedCheckpointError, match="device holds an attribute that no model saves"):
        load(with_pickle(ARCHIVE, "device", dumps(th.device("meta"))))


def test_attributes_of_subclasses_load() -> None:
    class Own(TDA2C):
        bonus = 1.0

    model = Own("MlpPolicy", CountingEnv(7), policy_kwargs={"net_arch": [2]}, device="cpu")
    model.bonus, model.note = 2.0, "mine"
    loaded = Own.load(io.BytesIO(saved(model)), device="cpu")
    assert (loaded.bonus, loaded.note) == (2.0, "mine")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("action_noise", "noise"),
        ("num_timesteps", 1.5),
        ("_total_timesteps", "many"),
        ("ep_info_buffer", [1]),
        ("lr_schedule", 1e-3),
        ("tensorboard_log", 5),
        ("_last_obs", "text"),
        ("_stats_window_size", "all"),
        ("rollout_buffer_kwargs", 3),
    ],
)
def test_attributes_of_other_types_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"its attribute '{key}' is a {type(value).__name__}"):
        load(with_json(ARCHIVE, key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1 << 200_000),
        ("verbose", 1 << 200_000),
        ("learning_rate", 10**400),
        ("_stats_window_size", 1 << 200_000),
        ("policy_kwargs", {"optimizer_kwargs": {"eps": 1 << 200_000}}),
        ("ep_info_buffer", deque([{"r": 1 << 200_000, "l": 1}])),
    ],
    # pytest would print the values
    ids=["seed", "verbose", "learning_rate", "_stats_window_size", "policy_kwargs", "ep_info_buffer"],
)
def test_huge_integers_are_refused(key: str, value: Any) -> None:
    """Python refuses to print them, with an error that names no attribute."""
    with pytest.raises(UnreadableCheckpointError, match=f"its attribute '{key}' holds an integer of more than 64 bits"):
        load(with_pickle(ARCHIVE, key, pickle.dumps(value)))


def test_huge_integers_in_spaces_and_schedules_are_refused() -> None:
    space, schedule = spaces.Discrete(2), ConstantSchedule(0.1)
    vars(space)["start"] = vars(schedule)["val"] = 1 << 200_000
    for key, value in {"action_space": space, "learning_rate": schedule}.items():
        with pytest.raises(UntrustedCheckpointError, match=f"{key} holds a .* is a huge integer"):
            load(with_pickle(ARCHIVE, key, pickle.dumps(value)))


@pytest.mark.parametrize("key", ["__class__", "__dict__", "__slots__", "__hash__", "__own__"])
def test_attributes_of_python_are_not_set(key: str) -> None:
    with pytest.raises(UntrustedCheckpointError, match=f"{key} holds "):
        load(with_json(ARCHIVE, key, 1))


@pytest.mark.parametrize("size", [None, np.int64(10), 0])
def test_statistics_may_have_any_window(size: Any) -> None:
    model = small(stats_window_size=size).learn(13)
    loaded = load(saved(model), env=CountingEnv(7)).learn(20)
    assert loaded.ep_info_buffer.maxlen == size
    assert type(loaded._stats_window_size) in (int, NoneType)


@pytest.mark.parametrize("info", [5, {}, {"r": 1.0}, {"r": "one", "l": 7}, {"r": 1.0, "l": None}])
def test_episodes_need_a_return_and_a_length(info: Any) -> None:
    """The log averages both."""
    archive = with_pickle(ARCHIVE, "ep_info_buffer", pickle.dumps(deque([info], maxlen=100)))
    with pytest.raises(UnreadableCheckpointError, match="episodes without the numbers 'r' and 'l'"):
        load(archive)


def test_a_file_does_not_choose_where_logs_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    archive = saved(small(tensorboard_log=str(folder)))
    with pytest.warns(UserWarning, match="the file: its tensorboard_log='.*logs' is ignored.*pass tensorboard_log="):
        model = load(archive)
    assert model.tensorboard_log is None
    assert load(archive, tensorboard_log="own").tensorboard_log == "own"
    assert load(archive, tensorboard_log=None).tensorboard_log is None
    assert load(archive, custom_objects={"tensorboard_log": "own"}).tensorboard_log == "own"
    assert load(archive, trusted=True).tensorboard_log == str(folder)
    # resume() is for files that the user saved
    assert TDA2C.resume(io.BytesIO(archive), CountingEnv(7), "cpu").tensorboard_log == str(folder)
