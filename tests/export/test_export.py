"""Exported actors beside their models."""

import json
import re
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import sb3_a2c_td
from sb3_a2c_td import TDA2C, MlpPolicy, UnreadableCheckpointError
from sb3_a2c_td.export import ExportError, export_actor, load_actor
from tests.environments import RandomEnv
from tests.export.models import BOX, DICT, DISCRETE, MODELS, VECTOR, model_on

Observations = np.ndarray | dict[str, np.ndarray]


def drawn(space: spaces.Space[Any], n: int = 40) -> Observations:
    """Draw observations one by one."""
    space.seed(7)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def run_onnx(path: Path, observations: Observations) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = observations if isinstance(observations, dict) else {"observation": observations}
    (actions,) = session.run(["action"], inputs)
    return actions


def run_loaded(path: Path, observations: Observations) -> np.ndarray:
    actor = load_actor(path)
    inputs = observations if isinstance(observations, dict) else {"observation": observations}
    with th.no_grad():
        return actor(*(th.as_tensor(inputs[name]) for name in actor.inputs)).numpy()


RUN = {"onnx": run_onnx, "safetensors": run_loaded}


def assert_same_actions(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def assert_exports(model: TDA2C, path: Path, to: Any) -> None:
    export_actor(model, path, to)
    for n in (40, 1):
        observations = drawn(model.observation_space, n)
        assert_same_actions(RUN[to](path, observations), model.predict(observations, deterministic=True)[0])


@pytest.mark.parametrize("name", MODELS)
def test_safetensors_act_as_the_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    assert_exports(model, tmp_path / "actor", "safetensors")
    actor = load_actor(tmp_path / "actor")
    assert actor.observation_space == model.observation_space
    assert actor.action_space == model.action_space


# PyTorch takes seconds for each
@pytest.mark.parametrize("name", ["discrete", "multi-discrete", "multi-binary", "squashed", "image", "dict"])
def test_onnx_acts_as_the_model(name: str, tmp_path: Path) -> None:
    assert_exports(MODELS[name](), tmp_path / "actor.onnx", "onnx")


def test_the_models_act_in_more_than_one_way() -> None:
    """Actors that gave the same action always would be no test."""
    for name in ("discrete", "multi-discrete", "multi-binary", "box", "squashed"):
        model = MODELS[name]()
        actions, _ = model.predict(drawn(model.observation_space), deterministic=True)
        assert len(np.unique(actions, axis=0)) > 1, name


@pytest.mark.cuda
@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:You are trying to run .* on the GPU")
@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_models_on_a_gpu_are_exported_to_the_cpu(to: Any, tmp_path: Path) -> None:
    model = model_on(DICT, BOX, "MultiInputPolicy", device="cuda")
    export_actor(model, tmp_path / "actor", to)
    assert model.policy.device.type == "cuda"
    on_cpu = model_on(DICT, BOX, "MultiInputPolicy")
    on_cpu.policy.load_state_dict(model.policy.state_dict())
    observations = drawn(DICT)
    expected, _ = on_cpu.predict(observations, deterministic=True)
    assert_same_actions(RUN[to](tmp_path / "actor", observations), expected)


# Computed by hand


def relu_network(layers: list[tuple[np.ndarray, np.ndarray]], observations: np.ndarray) -> np.ndarray:
    """Compute an MLP, whose layers come with weights ``(n_out, n_in)``."""
    rows = observations
    for i, (weight, bias) in enumerate(layers):
        rows = rows @ weight.T + bias
        rows = np.maximum(rows, 0) if i < len(layers) - 1 else rows
    return rows


def test_onnx_is_the_network_computed_by_hand(tmp_path: Path) -> None:
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


def test_safetensors_is_enough_for_numpy(tmp_path: Path) -> None:
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


# What the files say


def test_metadata_says_what_goes_in_and_comes_out(tmp_path: Path) -> None:
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


def test_the_onnx_file_is_of_its_format(tmp_path: Path) -> None:
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
    # where this code lies is nobody's business
    assert str(Path(sb3_a2c_td.__file__).parent).encode() not in path.read_bytes()
    assert sys.prefix.encode() not in path.read_bytes()


# Normalised observations


def normalizing(space: spaces.Space[Any], actions: spaces.Space[Any] = DISCRETE, **kwargs: Any) -> VecNormalize:
    """Give an environment whose statistics are of observations far from zero."""
    env = VecNormalize(DummyVecEnv([lambda: RandomEnv(space, actions)]), clip_obs=1.5, **kwargs)
    env.reset()
    for _ in range(50):
        env.step([actions.sample()])
    return env


FAR = spaces.Box(np.array([100, -0.1], np.float32), np.array([120, 0.1], np.float32))


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_normalisation_is_within_the_file(to: Any, tmp_path: Path) -> None:
    env = normalizing(FAR, VECTOR)
    model = TDA2C("MlpPolicy", env, seed=0, device="cpu").learn(50)
    export_actor(model, tmp_path / "actor", to, env)
    observations = drawn(FAR)
    normalized = env.normalize_obs(observations)
    assert (np.abs(normalized) == 1.5).any()
    expected, _ = model.predict(normalized, deterministic=True)
    assert np.ptp(expected, axis=0).min() > 0.1
    assert_same_actions(RUN[to](tmp_path / "actor", observations), expected)


def test_only_some_keys_are_normalised(tmp_path: Path) -> None:
    space = spaces.Dict({"far": FAR, "number": spaces.Discrete(3), "near": VECTOR})
    env = normalizing(space, BOX, norm_obs_keys=["far"])
    model = TDA2C("MultiInputPolicy", env, learning_rate=0.01, seed=0, device="cpu").learn(50)
    export_actor(model, tmp_path / "actor", "safetensors", env)
    observations = drawn(space)
    expected, _ = model.predict(env.normalize_obs(observations), deterministic=True)
    assert_same_actions(run_loaded(tmp_path / "actor", observations), expected)


def test_normalisation_of_other_observations_is_refused(tmp_path: Path) -> None:
    for env in (normalizing(spaces.Box(-1, 1, (4,))), normalizing(spaces.Dict({"far": FAR}))):
        with pytest.raises(ExportError, match="normalisation is of other observations.*shape"):
            export_actor(MODELS["discrete"](), tmp_path / "actor", "safetensors", env)
    assert not list(tmp_path.iterdir())


# What is not exported


class Contrary(MlpPolicy):
    """Acts otherwise than its networks say."""

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return (super()._predict(observation, deterministic) + 1) % 3


class Doubling(FlattenExtractor):
    """A features extractor of a user."""

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return 2 * super().forward(observations)


class Branching(FlattenExtractor):
    """Does something else where observations are large."""

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return super().forward(observations) * (2 if observations.sum() > 0 else 1)


class LateMlp(nn.Module):
    """Hidden layers of a user."""

    latent_dim_pi = latent_dim_vf = 3

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        return features

    forward_critic = forward_actor

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        return features, features


class WithOwnLayers(MlpPolicy):
    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = LateMlp()


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_what_acts_otherwise_is_not_written(to: Any, tmp_path: Path) -> None:
    model = TDA2C(Contrary, RandomEnv(VECTOR, DISCRETE), seed=0, device="cpu")
    path = tmp_path / "actor"
    path.write_bytes(b"an earlier one")
    with pytest.raises(ExportError, match=r"acts otherwise than the model on \d+ of 500"):
        export_actor(model, path, to)
    assert [file.name for file in tmp_path.iterdir()] == ["actor"]
    assert path.read_bytes() == b"an earlier one"


def test_extractors_of_ones_own_go_to_onnx_only(tmp_path: Path) -> None:
    model = model_on(VECTOR, policy_kwargs={"features_extractor_class": Doubling})
    assert_exports(model, tmp_path / "actor.onnx", "onnx")
    with pytest.raises(ExportError, match="Doubling.*: export to onnx"):
        export_actor(model, tmp_path / "actor.safetensors", "safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["actor.onnx"]


@pytest.mark.parametrize(
    ("policy", "kwargs", "message"),
    [
        (WithOwnLayers, {}, "the mlp_extractor of WithOwnLayers is a LateMlp"),
        (MlpPolicy, {"features_extractor_class": Branching}, "branches that depend on the observations"),
    ],
    ids=["layers", "branches"],
)
def test_what_onnx_cannot_hold_is_refused(policy: Any, kwargs: Any, message: str, tmp_path: Path) -> None:
    model = TDA2C(policy, RandomEnv(VECTOR, DISCRETE), policy_kwargs=kwargs, device="cpu")
    with pytest.raises(ExportError, match=message):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_onnx_has_no_input_called_as_its_output(tmp_path: Path) -> None:
    model = model_on(spaces.Dict({"action": VECTOR, "b": VECTOR}), policy="MultiInputPolicy")
    with pytest.raises(ExportError, match="the observation's key 'action'.*: export to safetensors"):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())
    assert_exports(model, tmp_path / "actor", "safetensors")


def test_what_is_no_valid_onnx_is_not_written(tmp_path: Path) -> None:
    # a name that PyTorch gives to a result within the network
    model = model_on(spaces.Dict({"linear": VECTOR}), policy="MultiInputPolicy")
    with pytest.raises(ExportError, match="no valid ONNX file.*called linear"):
        export_actor(model, tmp_path / "actor.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="to='pickle' must be one of onnx, safetensors"):
        export_actor(MODELS["discrete"](), tmp_path / "actor", "pickle")


@pytest.mark.parametrize(
    ("to", "missing"),
    [("onnx", "onnx"), ("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("safetensors", "safetensors")],
)
def test_a_missing_package_is_named(to: Any, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.split(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{missing}.*pip install 'sb3-a2c-td\[export\]'"):
        export_actor(MODELS["discrete"](), tmp_path / "actor", to)
    assert not list(tmp_path.iterdir())


# What exporting leaves alone


def test_the_model_trains_on_as_if_it_had_not_been_exported(tmp_path: Path) -> None:
    weights = []
    for exports in (False, True):
        model = model_on(DICT, BOX, "MultiInputPolicy")
        if exports:
            export_actor(model, tmp_path / "actor", "safetensors")
            load_actor(tmp_path / "actor")
        model.learn(20, reset_num_timesteps=False)
        weights.append(model.policy.state_dict())
    assert all(th.equal(*pair) for pair in zip(*(one.values() for one in weights), strict=True))


# Reading


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
def test_spaces_larger_than_the_networks_are_refused_before_they_are_made(old: str, new: str, tmp_path: Path) -> None:
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
