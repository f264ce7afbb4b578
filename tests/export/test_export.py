"""Exporting in either format."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from sb3_a2c_td import TDA2C
from sb3_a2c_td.export import ExportError, export_actor, load_actor
from tests.environments import RandomEnv
from tests.export.models import BOX, DICT, DISCRETE, MODELS, VECTOR, Contrary, Doubling, model_on
from tests.export.running import FORMATS, RUN, assert_exports, assert_same_actions, drawn


def test_models_return_different_actions() -> None:
    """So the comparisons of exported actors can fail."""
    for name in ("discrete", "multi-discrete", "multi-binary", "box", "squashed"):
        model = MODELS[name]()
        actions, _ = model.predict(drawn(model.observation_space), deterministic=True)
        assert len(np.unique(actions, axis=0)) > 1, name


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:You are trying to run .* on the GPU")
@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_models_on_a_gpu_are_exported_to_the_cpu(to: Any, gpu: str, tmp_path: Path) -> None:
    model = model_on(DICT, BOX, "MultiInputPolicy", device=gpu)
    export_actor(model, tmp_path / "actor", to)
    assert model.policy.device.type == gpu
    on_cpu = model_on(DICT, BOX, "MultiInputPolicy")
    on_cpu.policy.load_state_dict(model.policy.state_dict())
    observations = drawn(DICT)
    expected, _ = on_cpu.predict(observations, deterministic=True)
    assert_same_actions(RUN[to](tmp_path / "actor", observations), expected)


@pytest.mark.parametrize("to", FORMATS)
def test_actors_that_differ_from_the_model_are_not_written(to: Any, tmp_path: Path) -> None:
    model = TDA2C(Contrary, RandomEnv(VECTOR, DISCRETE), seed=0, device="cpu")
    path = tmp_path / "actor"
    path.write_bytes(b"an earlier one")
    with pytest.raises(ExportError, match=r"acts differently from the model on \d+ of 500"):
        export_actor(model, path, to)
    assert [file.name for file in tmp_path.iterdir()] == ["actor"]
    assert path.read_bytes() == b"an earlier one"


def test_custom_extractors_are_exported_to_onnx_only(tmp_path: Path) -> None:
    model = model_on(VECTOR, policy_kwargs={"features_extractor_class": Doubling})
    assert_exports(model, tmp_path / "actor.onnx", "onnx")
    with pytest.raises(ExportError, match="Doubling.*: export to onnx"):
        export_actor(model, tmp_path / "actor.safetensors", "safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["actor.onnx"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="to='pickle' must be one of onnx, safetensors"):
        export_actor(MODELS["discrete"](), tmp_path / "actor", "pickle")


@pytest.mark.parametrize(
    ("to", "missing"),
    [
        ("onnx", "onnx"),
        ("onnx", "onnxscript"),
        pytest.param("onnx", "onnxruntime", marks=pytest.mark.slow),
        ("safetensors", "safetensors"),
    ],
)
def test_a_missing_package_is_named(to: Any, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.split(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{missing}.*pip install '.\[export\]'"):
        export_actor(MODELS["discrete"](), tmp_path / "actor", to)
    assert not list(tmp_path.iterdir())


def test_exporting_does_not_change_the_training(tmp_path: Path) -> None:
    weights = []
    for exports in (False, True):
        model = model_on(DICT, BOX, "MultiInputPolicy")
        if exports:
            export_actor(model, tmp_path / "actor", "safetensors")
            load_actor(tmp_path / "actor")
        model.learn(20, reset_num_timesteps=False)
        weights.append(model.policy.state_dict())
    assert all(th.equal(*pair) for pair in zip(*(one.values() for one in weights), strict=True))
