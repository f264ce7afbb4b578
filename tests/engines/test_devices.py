"""What can be tested of models on a GPU without one: where tensors are made, and what waits for the device.

PyTorch's device ``meta`` has no data. An operation on tensors of ``meta`` and of the CPU fails, and so does whatever
needs a value: ``item()``, ``cpu()``, ``numpy()``, the condition of an ``if``.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn
from torch.overrides import TorchFunctionMode

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.engines import cuda_graph
from sb3_a2c_td.engines.cuda_graph import CudaEngine, in_a_cuda_graph
from tests.engines.test_cuda_graph import IMAGE, VECTOR, make
from tests.environments import RandomEnv
from tests.faults.test_divergence import with_eager_cuda_engine

DICT = spaces.Dict({"image": IMAGE, "vector": VECTOR, "number": spaces.Discrete(3)})


def make_masked() -> TDA2C:
    return MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=4), seed=0, device="cpu", engine="autograd")


def make_recurrent() -> TDA2C:
    env = DummyVecEnv([lambda: RandomEnv(VECTOR, spaces.Discrete(3))] * 2)
    return RecurrentTDA2C("MlpLstmPolicy", env, seed=0, device="cpu")


MODELS: dict[str, Callable[[], TDA2C]] = {
    "vector": lambda: make("MlpPolicy", VECTOR, spaces.Discrete(3)),
    "image": lambda: make("CnnPolicy", IMAGE, VECTOR),
    "dict": lambda: make("MultiInputPolicy", DICT, spaces.MultiDiscrete([3, 2])),
    "gsde": lambda: make("MlpPolicy", VECTOR, VECTOR, use_sde=True, sde_sample_freq=2),
    "normalizing": lambda: make("MlpPolicy", VECTOR, VECTOR, normalize_observations=True, normalize_advantage=True),
    "masked": make_masked,
    "recurrent": make_recurrent,
    "cuda": lambda: with_eager_cuda_engine(make("MlpPolicy", VECTOR, VECTOR)),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_tensor_is_made_on_the_default_device(name: str) -> None:
    model = MODELS[name]()
    with th.device("meta"):
        model.learn(45)
    assert model._n_updates > 0


def move_to_meta(policy: nn.Module) -> None:
    """Move a policy to ``meta``. Its parameters stay the same objects, since its optimizer holds them."""
    for param in policy.parameters():
        th.utils.swap_tensors(param, nn.Parameter(th.empty_like(param, device="meta")))


def fused_adam_on_meta(tensors: Any, betas: Any, alpha_t: th.Tensor, eps: float, found_inf: Any = None) -> None:
    """Check where the arguments of PyTorch's kernel are, which ``meta`` does not have."""
    assert {tensor.device.type for tensor in chain(*tensors, [alpha_t], [found_inf] * (found_inf is not None))} == {
        "meta"
    }


def without_values(compute: Callable[[], th.Tensor]) -> Callable[[], th.Tensor]:
    """Compute on ``meta``; a replay returns zeros."""
    output = compute()
    assert output.device.type == "meta"
    return lambda: th.zeros_like(output, device="cpu")


@pytest.mark.parametrize(
    ("policy", "space", "action_space"),
    [
        ("MlpPolicy", VECTOR, spaces.Discrete(3)),
        ("CnnPolicy", IMAGE, VECTOR),
        ("MultiInputPolicy", DICT, spaces.Discrete(3)),
    ],
)
def test_recorded_computations_stay_on_the_device_and_wait_for_nothing(
    policy: str, space: spaces.Space, action_space: spaces.Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graph, "fused_adam", fused_adam_on_meta)
    model = make(policy, space, action_space, max_grad_norm=0.5, normalize_advantage=True).learn(12)
    move_to_meta(model.policy)
    engine = CudaEngine(model.policy, without_values)
    engine.act(model._last_obs, model._streams)
    engine.update(model.rollout_buffer, model._loss_config(), model._streams)


class CountWaits(TorchFunctionMode):
    """Counts the calls that would wait for a GPU."""

    WAITS = ("item", "tolist", "cpu", "nonzero", "__bool__", "__float__", "__int__", "__index__")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in self.WAITS:
            self.counts[func.__name__] += 1
        return func(*args, **(kwargs or {}))


# autograd's other one is PyTorch's check of the distribution's parameters, which finds those that are not finite
@pytest.mark.parametrize(("name", "waits"), [("cuda", {"cpu": 1}), ("vector", {"cpu": 1, "__bool__": 1})])
def test_acting_waits_for_the_actions_only(name: str, waits: dict[str, int]) -> None:
    model = MODELS[name]()
    observations = np.zeros((3, 2), np.float32)
    model.sample_actions(observations)
    with CountWaits() as waited:
        model.sample_actions(observations)
    assert waited.counts == waits


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
