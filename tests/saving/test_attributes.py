"""The attributes of saved models: which need trust, and which are damaged."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from sb3_a2c_td import TDA2C, UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.policies.separate import MlpPolicy
from tests.environments import CountingEnv
from tests.saving.models import ARCHIVE, load, saved, small
from tests.saving.pickles import PAYLOADS, dumps, with_json, with_pickle


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
