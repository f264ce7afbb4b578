"""Saved models, read through ``TDA2C.load``."""

import io
import json
import os
import struct
import warnings
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, __version__
from sb3_a2c_td.policies.separate import MlpPolicy
from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving import (
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    read_checkpoint,
    restricted_loads,
)
from sb3_a2c_td.schedules import robbins_monro_schedule
from tests.environments import CountingEnv, DictCountingEnv, RandomEnv
from tests.saving.pickles import (
    PAYLOADS,
    New,
    Reduced,
    attributes_of,
    dumps,
    files_of,
    pickle_of,
    with_file,
    with_json,
    with_pickle,
    zipped,
)

VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


def saved(model: Any) -> bytes:
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


def small(**kwargs: Any) -> TDA2C:
    return TDA2C(
        "MlpPolicy", CountingEnv(7), **{"policy_kwargs": {"net_arch": [2]}, "seed": 0, "device": "cpu"} | kwargs
    )


ARCHIVE = saved(small().learn(13))
"""with an unfinished interval"""
SMALL = TDA2C.load(io.BytesIO(ARCHIVE), device="cpu", trusted=True)
"""its model, whose spaces no other test seeds"""


def load(archive: bytes, **kwargs: Any) -> TDA2C:
    return TDA2C.load(io.BytesIO(archive), device="cpu", **kwargs)


def described(thing: Any) -> Any:
    """Give what a thing is, in things that can be compared."""
    if isinstance(thing, dict):
        # a Box keeps what it once printed
        return [(key, described(value)) for key, value in thing.items() if key not in ("low_repr", "high_repr")]
    if isinstance(thing, list | tuple | deque):
        return [type(thing), *map(described, thing)]
    if isinstance(thing, np.random.Generator):
        return described(thing.bit_generator.state)
    if isinstance(thing, np.ndarray | np.generic | th.Tensor):
        return [thing.dtype, thing.shape, thing.tolist()]
    if isinstance(thing, TransitionBuffer):
        return [thing.n_steps, described(thing.transitions()) if len(thing) > 0 else None]
    if hasattr(thing, "__dict__") and not isinstance(thing, type):
        return [type(thing), described(vars(thing))]
    return thing


def assert_same_model(first: TDA2C, second: TDA2C) -> None:
    for a, b in zip(first.policy.state_dict().values(), second.policy.state_dict().values(), strict=True):
        assert th.equal(a, b)
    assert described(first.policy.optimizer.state_dict()) == described(second.policy.optimizer.state_dict())
    for name in attributes_of(saved(first)):
        assert described(getattr(first, name)) == described(getattr(second, name)), name


# What loads without a word


class NumpyInfos(RandomEnv):
    """Gives numpy's numbers in all places."""

    def step(self, action: Any):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, np.float32(reward), np.bool_(terminated), truncated, {**info, "found": np.float32(1)}


class Remembering(TDA2C):
    """Has attributes of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen = {"tensors": [th.ones(2)], "numbers": {1, 2}, "dtype": th.float32}


def mlp(env: Any, **kwargs: Any) -> TDA2C:
    return TDA2C("MlpPolicy", env, seed=0, device="cpu", **kwargs)


def on(observations: spaces.Space[Any], actions: spaces.Space[Any], policy: str = "MlpPolicy", **kwargs: Any) -> TDA2C:
    return TDA2C(policy, RandomEnv(observations, actions), seed=0, device="cpu", **kwargs)


TWO = spaces.Discrete(2)
LINEAR = LinearSchedule(1e-3, 1e-4, 1.0)
MODELS: dict[str, Callable[[], TDA2C]] = {
    "box": lambda: on(VECTOR, TWO),
    "box float64": lambda: on(spaces.Box(np.zeros((3, 2)).T, np.ones((2, 3)), dtype=np.float64), TWO),
    "discrete": lambda: on(spaces.Discrete(4), TWO),
    "multi-discrete": lambda: on(spaces.MultiDiscrete([3, 2]), TWO),
    "multi-binary": lambda: on(spaces.MultiBinary([2, 3]), TWO),
    "dict": lambda: on(spaces.Dict(a=IMAGE, b=TWO, c=spaces.MultiBinary(2), d=VECTOR), TWO, "MultiInputPolicy"),
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
    "optimiser": lambda: small(
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
    "attributes of a subclass": lambda: Remembering("MlpPolicy", CountingEnv(7), device="cpu"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_steps", [0, 23])
def test_models_of_all_kinds_load(name: str, n_steps: int) -> None:
    model = MODELS[name]().learn(n_steps)
    archive = saved(model)
    loaded, trusted = (
        type(model).load(io.BytesIO(archive), model.get_env(), "cpu", trusted=trusted) for trusted in (False, True)
    )
    assert_same_model(loaded, trusted)
    loaded.learn(8, reset_num_timesteps=False)


def test_models_that_sb3_saved_load() -> None:
    """As this package did before it had a ``save`` of its own."""
    file = io.BytesIO()
    OnPolicyAlgorithm.save(SMALL, file)
    checkpoint = read_checkpoint(file)
    assert checkpoint.training_state is None
    assert_same_model(load(file.getvalue()), SMALL)


def test_paths_and_files(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(ARCHIVE)
    for path in (tmp_path / "model", tmp_path / "model.zip", str(tmp_path / "model")):
        assert_same_model(TDA2C.load(path, device="cpu"), SMALL)
    with (tmp_path / "model.zip").open("rb") as file:
        file.seek(100)
        assert_same_model(TDA2C.load(file, device="cpu"), SMALL)
        assert not file.closed
    with pytest.raises(FileNotFoundError):
        TDA2C.load(tmp_path / "other", device="cpu")


def test_settings_can_be_changed() -> None:
    assert load(ARCHIVE, gamma=0.5).gamma == 0.5
    with pytest.raises(ValueError, match="gamma must be") as raised:
        load(ARCHIVE, gamma=2.0)
    assert type(raised.value) is ValueError
    assert raised.value.__notes__ == ["while the file was loaded"]
    with pytest.raises(ValueError, match="The specified policy kwargs do not equal"):
        load(ARCHIVE, policy_kwargs={"net_arch": [4]})


# What SB3 allows and this does not, unless it is told


def test_functions_as_schedules() -> None:
    archive = saved(small(learning_rate=lambda progress: 1e-3 * progress))
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(archive)
    assert str(raised.value) == (
        "the file: it asks for more than models of TDA2C need, and loading it could run code: learning_rate holds the "
        "code of a function or class (cloudpickle.cloudpickle._make_function), lr_schedule holds the code of a "
        "function or class (cloudpickle.cloudpickle._make_function). Give other objects in their place, "
        "custom_objects={'learning_rate': ..., 'lr_schedule': ...}, or, if you made the file yourself, load it with "
        "trusted=True"
    )
    assert load(archive, trusted=True).lr_schedule(0.5) == 5e-4
    replaced = load(archive, custom_objects={"learning_rate": 1e-4, "lr_schedule": None})
    assert replaced.lr_schedule(0.5) == 1e-4


class OwnPolicy(MlpPolicy):
    pass


class OwnActivation(nn.ReLU):
    pass


def test_custom_classes() -> None:
    archive = saved(TDA2C(OwnPolicy, CountingEnv(7), policy_kwargs={"activation_fn": OwnActivation}, device="cpu"))
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(archive)
    assert "policy_class holds tests.saving.test_archives.OwnPolicy, policy_kwargs holds tests." in str(raised.value)
    assert type(load(archive, trusted=True).policy) is OwnPolicy
    own = {"policy_class": OwnPolicy, "policy_kwargs": {"activation_fn": OwnActivation}}
    assert type(load(archive, custom_objects=own).policy) is OwnPolicy


def test_custom_objects_are_not_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = with_pickle(ARCHIVE, "gamma", PAYLOADS["a call"](str(canary)))
    assert load(archive, custom_objects={"gamma": 0.5, "unknown": 1}).gamma == 0.5
    assert not canary.exists()


# Code


@pytest.mark.parametrize("key", ["learning_rate", "policy_class", "nobody_asked_for_this"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_do_not_run(name: str, key: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(with_pickle(ARCHIVE, key, PAYLOADS[name](str(canary))))
    assert f"{key} holds " in str(raised.value)
    assert f"custom_objects={{{key!r}: ...}}" in str(raised.value)
    assert "trusted=True" in str(raised.value)
    assert not canary.exists()


@pytest.mark.parametrize("key", ["learning_rate", "policy_class", "nobody_asked_for_this"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_run_where_they_are_trusted(name: str, key: str, tmp_path: Path) -> None:
    """Otherwise the test above would say nothing."""
    canary = tmp_path / "canary"
    with suppress(Exception):
        load(with_pickle(ARCHIVE, key, PAYLOADS[name](str(canary))), trusted=True)
    assert canary.exists()


@pytest.mark.parametrize(
    ("name", "global_name"),
    [
        ("a call", f"{os.name}.mkdir"),
        ("builtins.eval", "builtins.eval"),
        ("os.system", f"{os.name}.system"),
        ("a pickle in a pickle", "_pickle.loads"),
        ("functools.partial", "functools.partial"),
        ("a module in an allowed one", "torch.os.mkdir"),
        ("an array of objects", "numpy.dtype('O8')"),
        ("INST", "a call of os.mkdir"),
        ("OBJ", "os.mkdir"),
    ],
)
def test_the_error_names_the_global(name: str, global_name: str) -> None:
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(with_pickle(ARCHIVE, "gamma", PAYLOADS[name]("canary")))
    assert f"gamma holds {global_name}. Give other objects" in str(raised.value)


PLACES: dict[str, Callable[[Any], Any]] = {
    "policy_kwargs": lambda payload: {"net_arch": [2], "activation_fn": payload},
    "rollout_buffer_kwargs": lambda payload: {"a": {"b": [({"c": payload},)]}},
    "ep_info_buffer": lambda payload: deque([{"r": payload}], maxlen=100),
    "observation_space": lambda payload: New(spaces.Box, (), {**vars(CountingEnv.observation_space), "low": payload}),
    "lr_schedule": lambda payload: New(FloatSchedule, (), {"value_schedule": payload}),
    "_last_obs": lambda payload: OrderedDict(a=payload),
    "rollout_buffer": lambda payload: Reduced(list, ([payload],)),
}


@pytest.mark.parametrize("key", PLACES)
def test_payloads_in_other_things_do_not_run(key: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = with_pickle(ARCHIVE, key, dumps(PLACES[key](Reduced(os.mkdir, (str(canary),)))))
    with pytest.raises(UntrustedCheckpointError, match=f"{key} holds"):
        load(archive)
    assert not canary.exists()
    with suppress(Exception):
        load(archive, trusted=True)
    assert canary.exists()


def test_payloads_in_the_training_state_do_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = with_file(ARCHIVE, "training_state.pkl", PAYLOADS["a call"](str(canary)))
    state = read_checkpoint(io.BytesIO(archive)).training_state
    assert state is not None
    with pytest.raises(UntrustedCheckpointError, match=f"asks for {os.name}.mkdir"):
        restricted_loads(state)
    with pytest.raises(UntrustedCheckpointError, match=f"{os.name}.mkdir"):
        TDA2C.resume(io.BytesIO(archive), CountingEnv(7), "cpu")
    load(archive)
    assert not canary.exists()


def tensors(thing: Any) -> bytes:
    file = io.BytesIO()
    th.save(thing, file)
    return file.getvalue()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth", "unknown.pth"])
def test_poisoned_tensors_do_not_run(name: str, trusted: bool, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    poisoned = tensors({"weight": Reduced(os.mkdir, (str(canary),))})
    with pytest.raises(UnreadableCheckpointError if trusted else UntrustedCheckpointError, match="mkdir"):
        load(with_file(ARCHIVE, name, poisoned), trusted=trusted)
    assert not canary.exists()
    th.load(io.BytesIO(poisoned), weights_only=False)
    assert canary.exists()


def test_no_environment_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3 makes the environment that a file names, and gymnasium imports the module that the name names."""
    (tmp_path / "harmful_env.py").write_text("import os; os.mkdir('canary')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    archive = with_json(ARCHIVE, "env", "harmful_env:CartPole-v1")
    with pytest.raises(UntrustedCheckpointError, match="env holds"):
        load(archive)
    assert not (tmp_path / "canary").exists()
    with suppress(Exception):
        load(archive, trusted=True)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "key", ["predict", "set_parameters", "_setup_model", "__init__", "sample_actions", "_collect_step"]
)
def test_methods_are_not_replaced(key: str) -> None:
    """By a class, say, which may be named, and which the model would then call."""
    for archive in (with_pickle(ARCHIVE, key, dumps(nn.Identity)), with_json(ARCHIVE, key, 1)):
        with pytest.raises(UntrustedCheckpointError, match=f"{key} holds what would take the place of a method"):
            load(archive)


def test_errors_of_ones_own_code_are_ones_own() -> None:
    class Own(TDA2C):
        def _setup_model(self) -> None:
            raise KeyError("of mine")

    with pytest.raises(KeyError, match="of mine"):
        Own.load(io.BytesIO(ARCHIVE), trusted=True)


def test_episodes_infos_may_be_long() -> None:
    """The same text in each of a hundred takes its bytes once."""
    model = TDA2C("MlpPolicy", CountingEnv(7), device="cpu").learn(8)
    model.ep_info_buffer.extend([{"r": 1.0, "l": 7, "seed": "x" * 6_000}] * 100)
    file = io.BytesIO()
    model.save(file)
    assert load(file.getvalue()).ep_info_buffer == model.ep_info_buffer


def test_variables_of_other_algorithms_are_refused() -> None:
    archive = with_file(ARCHIVE, "pytorch_variables.pth", tensors({"policy_class": th.zeros(1)}))
    with pytest.raises(UntrustedCheckpointError, match="policy_class"):
        load(archive)
    assert not hasattr(MlpPolicy, "data")


def test_names_in_errors_cannot_write_to_the_terminal() -> None:
    with pytest.raises(UntrustedCheckpointError) as raised:
        load(with_pickle(ARCHIVE, "gamma", b"cevil\x1b[2J" + b"x" * 100_000 + b"\nname\n."))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 3000


# Zips


def assert_unreadable(archive: bytes, match: str, **kwargs: Any) -> None:
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match=match):
            load(archive, trusted=trusted, **kwargs)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18), bytes(1000)], ids=repr)
def test_other_files(content: bytes) -> None:
    assert_unreadable(content, "damaged, or no saved model")


class TooLarge(io.BytesIO):
    """A file of which the memory holds no more than the largest end of a zip."""

    def read(self, size: int | None = -1) -> bytes:
        left = len(self.getbuffer()) - self.tell()
        if (left if size is None or size < 0 else size) > 2**17:
            raise MemoryError
        return super().read(size)


@pytest.mark.parametrize(
    ("content", "message"),
    [(bytes(2**20), "File is not a zip file"), (bytes(2**20) + ARCHIVE, "larger than the memory")],
    ids=["zeros", "a zip"],
)
def test_files_larger_than_the_memory(content: bytes, message: str) -> None:
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match=f"the file: it is damaged, or no saved model.*{message}"):
            TDA2C.load(TooLarge(content), trusted=trusted)


def test_the_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    for n_bytes in (1000, len(ARCHIVE) - 100):
        path.write_bytes(ARCHIVE[:n_bytes])
        with pytest.raises(UnreadableCheckpointError, match=f"^{path}: it is damaged, or no saved model"):
            TDA2C.load(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "data/../evil",
        "C:\\evil",
        "..\\policy.pth",
        "a/b.pth",
        "..pth",
        ".pth",
        "policy.pth.py",
    ],
)
def test_other_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert_unreadable(with_file(ARCHIVE, name, b"evil"), "which these do not have")
    assert [*tmp_path.rglob("*")] == [folder]


def test_two_entries_of_one_name() -> None:
    file = io.BytesIO(ARCHIVE)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("data", b"{}")
    assert_unreadable(file.getvalue(), "several entries 'data'")


def test_a_missing_entry() -> None:
    for name in ("data", "policy.pth", "policy.optimizer.pth"):
        files = files_of(ARCHIVE)
        del files[name]
        assert_unreadable(zipped(files), f"no entry '{name}'")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs(compression: int) -> None:
    """A hundred megabytes in a few kilobytes."""
    bomb = zipped({**files_of(ARCHIVE), "unknown.pth": bytes(10**8)}, compression)
    assert len(bomb) < 10**6
    assert_unreadable(bomb, "is compressed")


def central_headers(archive: bytes) -> list[int]:
    """Find the headers in a zip's list of entries."""
    (begin,) = struct.unpack("<I", archive[-6:-2])
    return [i for i in range(begin, len(archive)) if archive[i : i + 4] == b"PK\x01\x02"]


@pytest.mark.parametrize("n_bytes", [0, 1, 10**6, 2**32 - 2])
def test_sizes_that_lie(n_bytes: int) -> None:
    for header in central_headers(ARCHIVE):
        both = bytearray(ARCHIVE)
        both[header + 20 : header + 28] = struct.pack("<II", n_bytes, n_bytes)
        assert_unreadable(bytes(both), "larger than the file|damaged|no entry|compressed")
        one = bytearray(ARCHIVE)
        one[header + 24 : header + 28] = struct.pack("<I", n_bytes)
        assert_unreadable(bytes(one), "is compressed")


def test_entries_over_each_other() -> None:
    """Many names for one content."""
    header = central_headers(ARCHIVE)[0]
    files = files_of(ARCHIVE)
    for i in range(50):
        files[f"more{i}.pth"] = files["policy.pth"]
    long = bytearray(zipped(files))
    first = struct.unpack("<I", ARCHIVE[header + 42 : header + 46])[0]
    for header in central_headers(bytes(long))[1:]:
        long[header + 42 : header + 46] = struct.pack("<I", first)
    assert_unreadable(bytes(long), "damaged")


def test_encrypted() -> None:
    locked = bytearray(ARCHIVE)
    locked[central_headers(ARCHIVE)[0] + 8] |= 1
    assert_unreadable(bytes(locked), "is encrypted")


@pytest.mark.parametrize("name", ["policy.pth", "policy.optimizer.pth"])
def test_damaged_tensors(name: str) -> None:
    content = files_of(ARCHIVE)[name]
    for damaged in (
        *(b"", content[:-50], zipped(files_of(content), zipfile.ZIP_DEFLATED)),
        *(zipped({**files_of(content), "../evil": b""}), zipped({"archive/version": b"3"})),
        zipped({**files_of(content), "archive/data/0": bytes(4)}),
        zipped({**files_of(content), "archive/data.pkl": b"\x80\x02N."}),
    ):
        with pytest.raises(UnreadableCheckpointError, match=f"in its entry '{name}', "):
            load(with_file(ARCHIVE, name, damaged))
        with suppress(ValueError, AttributeError, TypeError):
            load(with_file(ARCHIVE, name, damaged), trusted=True)


def test_tensors_larger_than_their_numbers() -> None:
    parameters = {name: th.zeros(1).expand(param.shape) for name, param in SMALL.policy.named_parameters()}
    with pytest.raises(UnreadableCheckpointError, match="a tensor larger than its numbers"):
        load(with_file(ARCHIVE, "policy.pth", tensors(parameters)))


def test_moments_of_another_shape() -> None:
    """PyTorch's kernels would write beyond them."""
    for name, moment in [("exp_avg", th.zeros(1)), ("exp_avg_sq", th.zeros(10_000)), ("step", th.zeros(0))]:
        state = SMALL.policy.optimizer.state_dict()
        state["state"][0] = {**state["state"][0], name: moment}
        with pytest.raises(UnreadableCheckpointError, match=f"'{name}' has the shape"):
            load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)))


# What is in them


@pytest.mark.parametrize("other", [A2C, PPO])
def test_other_algorithms(other: Any) -> None:
    assert_unreadable(saved(other("MlpPolicy", CountingEnv(7), device="cpu")), "another algorithm than TDA2C saved it")


def test_a_newer_format() -> None:
    manifest = json.dumps({"format": 2}).encode()
    assert_unreadable(
        with_file(ARCHIVE, "sb3_a2c_td.json", manifest), "a newer version of this package.*pip install -U"
    )
    assert_same_model(load(with_file(ARCHIVE, "sb3_a2c_td.json", b'{"format": 1}')), SMALL)
    for damaged in (b"", b"[]", b'{"format": "1"}', b'{"format": true}', b"\xff", b"[" * 100_000):
        assert_unreadable(with_file(ARCHIVE, "sb3_a2c_td.json", damaged), "'sb3_a2c_td.json' is damaged")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"a": 1' + b"0" * 10_000 + b"}"])
def test_damaged_data(data: bytes) -> None:
    assert_unreadable(with_file(ARCHIVE, "data", data), "'data' is damaged")


@pytest.mark.parametrize("serialized", ["?", "gA", 5, None, ["gAROLg=="], "", "gARO"])
def test_damaged_attributes(serialized: Any) -> None:
    with pytest.raises(UnreadableCheckpointError, match="its attribute 'gamma' is"):
        load(with_json(ARCHIVE, "gamma", {":serialized:": serialized}))


@pytest.mark.parametrize("key", ["observation_space", "action_space"])
def test_no_spaces(key: str) -> None:
    for archive in (with_json(ARCHIVE, key, 5), with_pickle(ARCHIVE, key, dumps(nn.Tanh))):
        assert_unreadable(archive, f"its {key} is no space")


def test_other_spaces() -> None:
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
        ("policy_kwargs", {"net_arch": "text"}),
        ("verbose", None),
        ("n_envs", "text"),
        ("seed", [1]),
        ("rollout_buffer", None),
    ],
)
def test_attributes_of_other_types(key: str, value: Any) -> None:
    with pytest.raises(UnreadableCheckpointError, match="do not fit together"):
        load(with_json(ARCHIVE, key, value))


HUGE: dict[str, tuple[str, Any]] = {
    "layers": ("policy_kwargs", {"net_arch": [10**9]}),
    "two layers": ("policy_kwargs", {"net_arch": [10**5, 10**5]}),
    "many layers": ("policy_kwargs", {"net_arch": [1] * 10**6}),
    "activations": ("policy_kwargs", {"net_arch": [2], "activation_fn": nn.Transformer}),
    "numbers": ("observation_space", spaces.Discrete(10**10)),
    "bits": ("observation_space", spaces.MultiBinary(10**10)),
    "actions": ("action_space", spaces.Discrete(10**10)),
    "action bits": ("action_space", spaces.MultiBinary(10**10)),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", HUGE)
def test_settings_cannot_fill_the_memory(name: str) -> None:
    key, value = HUGE[name]
    with pytest.raises(UnreadableCheckpointError, match="networks much larger than those that it holds"):
        load(with_pickle(ARCHIVE, key, dumps(value)))


# A thousand damages


def headers(archive: bytes) -> list[int]:
    """List the bytes in which a zip says what is in it; about the half of them, changed, changes nothing."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        begins = [entry.header_offset for entry in opened.infolist()]
    local = [begin + i for begin in begins for i in range(60)]
    return local + list(range(central_headers(archive)[0], len(archive)))


PLACES_OF_DAMAGE = st.one_of(st.integers(0, len(ARCHIVE) - 1), st.sampled_from(headers(ARCHIVE)))
DAMAGES = st.one_of(
    *[st.tuples(st.just("flip"), PLACES_OF_DAMAGE, st.integers(0, 7))] * 3,
    st.tuples(st.just("cut"), PLACES_OF_DAMAGE, st.just(0)),
    st.tuples(st.just("remove"), PLACES_OF_DAMAGE, st.integers(1, 100)),
    st.tuples(st.just("insert"), PLACES_OF_DAMAGE, st.binary(min_size=1, max_size=50)),
)


@settings(max_examples=1000)
@given(st.lists(DAMAGES, min_size=1, max_size=2))
def test_damage_is_noticed(damages: list[tuple[str, int, Any]]) -> None:
    """Bits flipped, bytes left out and put in: an error, or the same model."""
    damaged = bytearray(ARCHIVE)
    for kind, place, how in damages:
        if kind == "flip" and place < len(damaged):
            damaged[place] ^= 1 << how
        elif kind == "insert":
            damaged[place:place] = how
        elif kind in ("remove", "cut"):
            del damaged[place : place + how if kind == "remove" else None]
    try:
        loaded = load(bytes(damaged))
    except (UnreadableCheckpointError, UntrustedCheckpointError):
        return
    assert_same_model(loaded, SMALL)


def test_every_byte_of_the_end() -> None:
    """Where a zip says what is in it."""
    begin = central_headers(ARCHIVE)[0]
    n_same = 0
    for place in range(begin, len(ARCHIVE)):
        damaged = bytearray(ARCHIVE)
        damaged[place] ^= 0xFF
        try:
            checkpoint = read_checkpoint(io.BytesIO(damaged))
        except UnreadableCheckpointError:
            continue
        n_same += 1
        assert checkpoint.data.keys() == attributes_of(ARCHIVE).keys()
    assert 0 < n_same < (len(ARCHIVE) - begin) / 2


@settings(max_examples=300)
@given(st.sampled_from(["policy_class", "observation_space", "rollout_buffer", "lr_schedule", "_last_obs"]), st.data())
def test_damaged_attributes_that_look_whole(key: str, data: st.DataObject) -> None:
    """Pickles changed, and then put into a zip that is in order: an error for users, or some model."""
    changed = bytearray(pickle_of(ARCHIVE, key))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        load(with_pickle(ARCHIVE, key, bytes(changed)))


def test_what_is_loaded_is_what_was_checked(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(io.BytesIO(ARCHIVE))
    files = files_of(checkpoint.file.getvalue())
    assert files.keys() == files_of(ARCHIVE).keys()
    for name, content in files_of(ARCHIVE).items():
        read = files_of if name.endswith(".pth") else bytes
        assert read(files[name]) == read(content)
    assert json.loads(files["sb3_a2c_td.json"]) == {"format": 1, "version": __version__}
    assert checkpoint.training_state == files["training_state.pkl"]
    assert checkpoint.data.keys() == attributes_of(ARCHIVE).keys()
    assert checkpoint.data["policy_kwargs"] == {"net_arch": [2]}


def test_two_zips_in_one() -> None:
    """PyTorch finds the list of entries by a pointer that Python does not look at."""
    shown, hidden = files_of(ARCHIVE)["policy.pth"], tensors({"hidden": th.ones(3)})
    n_end, n_locator, n_end_64 = 22, 20, 56
    both = hidden[: -n_end - n_locator] + shown[: -n_end - n_locator]
    both += struct.pack("<4sIQI", b"PK\x06\x07", 0, len(hidden) - n_end - n_locator - n_end_64, 1) + shown[-n_end:]
    assert files_of(both) == files_of(shown)
    assert th.load(io.BytesIO(both), weights_only=True).keys() == {"hidden"}
    assert_same_model(load(with_file(ARCHIVE, "policy.pth", both)), SMALL)
