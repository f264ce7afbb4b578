"""What can be tested of models on a GPU without one: where tensors are, and what is read from the device."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3.common.vec_env import DummyVecEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.engines.auto import AutoEngine
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.cuda_graph import CudaEngine, in_a_cuda_graph, without_recording
from sb3_a2c_td.engines.random_streams import RandomStreams
from tests.engines.test_cuda_graph import IMAGE, VECTOR, make
from tests.environments import RandomEnv

DICT = spaces.Dict({"image": IMAGE, "vector": VECTOR, "number": spaces.Discrete(3)})


def make_masked() -> TDA2C:
    return MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=4), seed=0, device="cpu", engine="autograd")


def make_recurrent() -> TDA2C:
    env = DummyVecEnv([lambda: RandomEnv(VECTOR, spaces.Discrete(3))] * 2)
    return RecurrentTDA2C("MlpLstmPolicy", env, seed=0, device="cpu")


RECORDABLE: dict[str, Callable[[], TDA2C]] = {
    "vector": lambda: make("MlpPolicy", VECTOR, spaces.Discrete(3), max_grad_norm=0.5, normalize_advantage=True),
    "image": lambda: make("CnnPolicy", IMAGE, VECTOR),
    "dict": lambda: make("MultiInputPolicy", DICT, spaces.Discrete(3), normalize_observations=True),
}
MODELS: dict[str, Callable[[], TDA2C]] = {
    **RECORDABLE,
    "components": lambda: make("MlpPolicy", VECTOR, spaces.MultiDiscrete([3, 2])),
    "gsde": lambda: make("MlpPolicy", VECTOR, VECTOR, use_sde=True, sde_sample_freq=2),
    "masked": make_masked,
    "recurrent": make_recurrent,
}


class SimulatedGpu(TorchDispatchMode):
    """Uses PyTorch's device ``meta``, whose tensors have no values, as a GPU.

    What is copied from it is zeros, and a number that is read from it is 1. Operations on tensors of two devices fail.
    While something is recorded, so do copies between the devices, and reading a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.n_blocking_uploads = 0
        self._is_recording = False

    def record(self, compute: Callable[[], th.Tensor]) -> Callable[[], th.Tensor]:
        """Compute once; as in a CUDA graph, no Python runs in a replay."""
        self._is_recording = True
        output = compute()
        self._is_recording = False
        return lambda: output

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, th.Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        is_copy = func in (th.ops.aten._to_copy.default, th.ops.aten.copy_.default)
        assert not (self._is_recording and "cpu" in devices), f"{func} of a tensor on the CPU in a recording"
        assert is_copy or len(devices) <= 1, f"{func} of tensors on two devices"
        if "meta" in devices and is_copy and th.device(kwargs.get("device") or "meta").type == "cpu":
            self._read("copy")
            return th.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is th.ops.aten._to_copy.default and th.device(kwargs.get("device") or "cpu").type == "meta":
            self.n_blocking_uploads += "cpu" in devices and not kwargs.get("non_blocking")
        if "meta" in devices and func is th.ops.aten._local_scalar_dense.default:
            self._read("number")
            return th.ones((), dtype=args[0].dtype).item()
        if func in (th.ops.aten._fused_adam_.default, th.ops.aten._fused_adam_.tensor_lr):
            return None  # meta does not have it
        return func(*args, **kwargs)

    def _read(self, what: str) -> None:
        assert not self._is_recording, f"a {what} is read in a recording"
        self.reads[what] += 1


def moved_to_meta(model: TDA2C) -> TDA2C:
    policy = model.policy
    names = {id(param): name for name, param in policy.named_parameters()}
    policy.to("meta")
    moved = dict(policy.named_parameters())
    for group in policy.optimizer.param_groups:
        group["params"] = [moved[names[id(param)]] for param in group["params"]]
    model.device = th.device("meta")
    return model


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_moved_to_the_device(name: str) -> None:
    model = moved_to_meta(MODELS[name]())
    with SimulatedGpu():
        model.learn(45)
    assert model._n_updates > 0


@pytest.mark.parametrize("name", RECORDABLE)
def test_what_is_recorded_stays_on_the_device_and_reads_nothing(name: str) -> None:
    model = moved_to_meta(RECORDABLE[name]())
    with SimulatedGpu() as gpu:
        model._engine = CudaEngine(model.policy, gpu.record)
        model.learn(45)
    assert model._n_updates > 0


@pytest.mark.parametrize("name", MODELS)
def test_no_tensor_is_made_on_the_default_device(name: str) -> None:
    model = MODELS[name]()
    with th.device("meta"):
        model.learn(45)
    assert model._n_updates > 0


def test_memory_and_seeds_do_not_depend_on_the_default_device() -> None:
    model = RECORDABLE["vector"]()
    with th.device("meta"):
        RandomStreams.from_seed(None)
        model._engine = CudaEngine(model.policy, without_recording)
        model.learn(45)
    assert model._n_updates > 0


def test_auto_does_not_choose_the_experimental_engine() -> None:
    assert isinstance(AutoEngine(moved_to_meta(RECORDABLE["image"]()).policy).current(), AutogradEngine)


@pytest.mark.parametrize("name", MODELS)
def test_acting_reads_the_actions_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart from PyTorch's checks of a distribution's parameters, which read a number for each."""
    monkeypatch.setattr(th.distributions.Distribution, "_validate_args", False)
    model = moved_to_meta(MODELS[name]())
    with SimulatedGpu() as gpu:
        model.learn(45)
        gpu.reads.clear()
        model.sample_actions(model._last_obs)
    # an LSTM's state is kept on the CPU, with the transitions, and sb3-contrib asks whether an episode starts
    assert gpu.reads == ({"copy": 2, "number": 2} if name == "recurrent" else {"copy": 1})


@pytest.mark.parametrize("name", ["vector", "image", "components"])
def test_noise_is_uploaded_without_waiting_for_the_network(name: str) -> None:
    model = moved_to_meta(MODELS[name]())
    with SimulatedGpu() as gpu:
        model.sample_actions(model.env.reset())
    assert gpu.n_blocking_uploads == 1  # the observations


@pytest.mark.parametrize("name", RECORDABLE)
def test_acting_with_a_recording_reads_the_actions_only(name: str) -> None:
    model = moved_to_meta(RECORDABLE[name]())
    with SimulatedGpu() as gpu:
        model._engine = CudaEngine(model.policy, gpu.record)
        model.sample_actions(model.env.reset())
    assert gpu.reads == {"copy": 1}


class Graph:
    """In place of ``torch.cuda.CUDAGraph``."""

    def __init__(self, calls: list[str]) -> None:
        self.replay = lambda: calls.append("replay")


class Stream:
    """In place of ``torch.cuda.Stream``."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self._calls = name, calls

    def wait_stream(self, other: "Stream") -> None:
        self._calls.append(f"{self.name} waits for {other.name}")


def test_a_graph_is_recorded_after_a_few_runs_aside_and_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called of ``torch.cuda``, and when. ``test_cuda.py`` of TDA2C does it on a GPU."""
    calls: list[str] = []
    main, aside = Stream("main", calls), Stream("aside", calls)

    @contextmanager
    def entered(thing: Stream | Graph) -> Iterator[None]:
        name = thing.name if isinstance(thing, Stream) else "graph"
        calls.append(f"begin {name}")
        yield
        calls.append(f"end {name}")

    monkeypatch.setattr(th.cuda, "Stream", lambda: aside)
    monkeypatch.setattr(th.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(th.cuda, "stream", entered)
    monkeypatch.setattr(th.cuda, "CUDAGraph", lambda: Graph(calls))
    monkeypatch.setattr(th.cuda, "graph", entered)
    output = th.zeros(())

    def compute() -> th.Tensor:
        calls.append("compute")
        return output

    replay = in_a_cuda_graph(compute)
    warm_up = ["aside waits for main", "begin aside", *["compute"] * 3, "end aside", "main waits for aside"]
    assert calls == [*warm_up, "begin graph", "compute", "end graph"]
    calls.clear()
    assert replay() is output
    assert calls == ["replay"]
