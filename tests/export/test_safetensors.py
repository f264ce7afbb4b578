"""Actors in safetensors files."""

import json
import re
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from gymnasium import spaces

import sb3_a2c_td
from sb3_a2c_td import UnreadableCheckpointError
from sb3_a2c_td.export import ExportError, export_actor, load_actor
from tests.export.models import IMAGE, MODELS, VECTOR, model_on
from tests.export.running import assert_exports, assert_same_actions, drawn, relu_network


@pytest.mark.parametrize("name", MODELS)
def test_safetensors_act_like_the_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    assert_exports(model, tmp_path / "actor", "safetensors")
    actor = load_actor(tmp_path / "actor")
    assert actor.observation_space == model.observation_space
    assert actor.action_space == model.action_space


def test_safetensors_agrees_with_numpy(tmp_path: Path) -> None:
    model = MODELS["discrete"]()
    path = tmp_path / "actor.safetensors"
    export_actor(model, path, "safetensors")
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata["activation_fn"] == "torch.nn.modules.activation.ReLU"
    assert metadata["net_arch"] == [32, 16]
    names = ("policy_net.0", "policy_net.2", "action_net")
    assert tensors.keys() == {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    observations = drawn(VECTOR)
    logits = relu_network([(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names], observations)
    assert_same_actions(logits.argmax(axis=1), model.predict(observations, deterministic=True)[0])


def test_metadata_describes_inputs_and_outputs(tmp_path: Path) -> None:
    model = model_on(spaces.Box(np.array([-1, -np.inf]), np.array([1, 2.5]), dtype=np.float64))
    export_actor(model, tmp_path / "actor", "safetensors")
    with safetensors.safe_open(tmp_path / "actor", "numpy") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata["observation_space"] == {
        "type": "Box",
        "shape": [2],
        "dtype": "float64",
        "low": [-1.0, None],
        "high": [1.0, 2.5],
    }
    assert metadata["action_space"] == {"type": "Discrete", "n": 3}
    assert metadata["versions"]["sb3-a2c-td"] == sb3_a2c_td.__version__
    assert metadata["normalization"] is None


def test_arguments_of_extractors_must_fit_into_json(tmp_path: Path) -> None:
    kwargs = {"features_extractor_kwargs": {"features_dim": np.int64(4)}}
    model = model_on(IMAGE, policy="CnnPolicy", policy_kwargs=kwargs)
    with pytest.raises(ExportError, match="cannot be written in JSON .*: export to onnx"):
        export_actor(model, tmp_path / "actor", "safetensors")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "actor"
    export_actor(MODELS["discrete"](), path, "safetensors")
    content = path.read_bytes()
    others = safetensors.numpy.save({"a": np.zeros(2)})
    swapped = re.sub(rb"torch\.nn\.modules\.activation\.ReLU", b"torch.nn.modules.activation.Rel_", content)
    for damaged in (b"", b"no such file", content[:-50], content[:100], others, swapped):
        path.write_bytes(damaged)
        with pytest.raises(UnreadableCheckpointError, match="actor: it is damaged, or holds no actor"):
            load_actor(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\\"shape\\": [3]', '\\"shape\\": [2147483648]'),
        ('\\"dtype\\": \\"float32\\"', '\\"dtype\\": \\"U2147483\\"'),
    ],
    ids=["long", "texts"],
)
def test_spaces_larger_than_the_networks_are_not_created(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "actor"
    export_actor(MODELS["discrete"](), path, "safetensors")
    content = path.read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + n_header].decode()
    assert old in header
    swapped = header.replace(old, new, 1).encode()
    path.write_bytes(len(swapped).to_bytes(8, "little") + swapped + content[8 + n_header :])
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableCheckpointError, match="actor: it is damaged, or holds no actor"):
            load_actor(path)
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()


def test_spaces_keep_their_order(tmp_path: Path) -> None:
    space = spaces.Dict(OrderedDict([("z", VECTOR), ("a", spaces.Discrete(2))]))
    model = model_on(space, policy="MultiInputPolicy")
    export_actor(model, tmp_path / "actor", "safetensors")
    assert list(load_actor(tmp_path / "actor").inputs) == list(model.observation_space.spaces) == ["z", "a"]
