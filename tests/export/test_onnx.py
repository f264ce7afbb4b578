"""Actors in ONNX files."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gymnasium import spaces

import sb3_a2c_td
from sb3_a2c_td import TDA2C, MlpPolicy
from sb3_a2c_td.export import ExportError, export_actor
from tests.environments import RandomEnv
from tests.export.models import DISCRETE, MODELS, VECTOR, Branching, WithCustomLayers, model_on
from tests.export.running import assert_exports, drawn, relu_network, run_onnx


# Each export takes PyTorch about a second
@pytest.mark.parametrize(
    "name",
    [
        "discrete",
        "dict",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("multi-discrete", "multi-binary", "squashed", "image")
        ),
    ],
)
def test_onnx_acts_like_the_model(name: str, tmp_path: Path) -> None:
    assert_exports(MODELS[name](), tmp_path / "actor.onnx", "onnx")


def test_onnx_agrees_with_numpy(tmp_path: Path) -> None:
    model = MODELS["box"]()
    export_actor(model, tmp_path / "actor.onnx", "onnx")
    state = {name: tensor.numpy() for name, tensor in model.policy.state_dict().items()}
    names = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net")
    layers = [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]
    observations = drawn(VECTOR)
    means = relu_network(layers, observations).reshape(-1, 1, 2)
    expected = np.clip(means, [[-0.1, -0.2]], [[0.1, 0.3]])
    assert (expected != means).any()
    assert (expected == means).any()
    np.testing.assert_allclose(run_onnx(tmp_path / "actor.onnx", observations), expected, rtol=1e-5, atol=1e-6)


def test_the_onnx_file_has_names_shapes_and_metadata(tmp_path: Path) -> None:
    model = model_on(spaces.Dict({"a": VECTOR, "b": spaces.Discrete(2)}), policy="MultiInputPolicy")
    path = tmp_path / "actor.onnx"
    export_actor(model, path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    shapes = {
        one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in [*proto.graph.input, *proto.graph.output]
    }
    assert shapes == {"a": ["batch", 3], "b": ["batch"], "action": ["batch"]}
    assert [one.version for one in proto.opset_import] == [18]
    metadata = {one.key: json.loads(one.value) for one in proto.metadata_props}
    assert metadata["action_space"] == {"type": "Discrete", "n": 3}
    # no paths of this machine
    assert str(Path(sb3_a2c_td.__file__).parent).encode() not in path.read_bytes()
    assert sys.prefix.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("policy", "kwargs", "message"),
    [
        (WithCustomLayers, {}, "the mlp_extractor of WithCustomLayers is a CustomLayers"),
        (MlpPolicy, {"features_extractor_class": Branching}, "branches that depend on the observations"),
    ],
    ids=["layers", "branches"],
)
def test_custom_layers_and_branches_are_refused(policy: Any, kwargs: Any, message: str, tmp_path: Path) -> None:
    model = TDA2C(policy, RandomEnv(VECTOR, DISCRETE), policy_kwargs=kwargs, device="cpu")
    with pytest.raises(ExportError, match=message):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_an_input_with_the_name_of_the_output_is_refused(tmp_path: Path) -> None:
    model = model_on(spaces.Dict({"action": VECTOR, "b": VECTOR}), policy="MultiInputPolicy")
    with pytest.raises(ExportError, match="the observation's key 'action'.*: export to safetensors"):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())
    assert_exports(model, tmp_path / "actor", "safetensors")


def test_invalid_onnx_is_not_written(tmp_path: Path) -> None:
    # a name that PyTorch gives to a result within the network
    model = model_on(spaces.Dict({"linear": VECTOR}), policy="MultiInputPolicy")
    with pytest.raises(ExportError, match=r"not valid ONNX.*names \(linear\)"):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())
