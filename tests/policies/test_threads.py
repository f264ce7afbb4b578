"""PyTorch's threads while networks act and are trained."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.policies.minatar import MinAtarPolicy
from tests.environments import RandomEnv

VECTOR = spaces.Box(-1, 1, (4,), np.float32)
SMALL_IMAGE = spaces.Box(0, 255, (4, 10, 10), np.uint8)
LARGE_IMAGE = spaces.Box(0, 255, (4, 84, 84), np.uint8)


class MaskedEnv(RandomEnv):
    def action_masks(self) -> np.ndarray:
        return np.array([True, False, True])


def make(algorithm: type[TDA2C], policy: Any, space: spaces.Space[Any], **kwargs: Any) -> TDA2C:
    env = make_vec_env(lambda: MaskedEnv(space, spaces.Discrete(3)), 2, seed=0)
    return algorithm(policy, env, seed=0, device="cpu", **kwargs)


SMALL: dict[str, Callable[[], TDA2C]] = {
    "MLP": lambda: make(TDA2C, "MlpPolicy", VECTOR, engine="autograd"),
    "masks": lambda: make(MaskableTDA2C, "MlpPolicy", VECTOR, engine="autograd"),
    "LSTM": lambda: make(RecurrentTDA2C, "MlpLstmPolicy", VECTOR),
    "dict": lambda: make(TDA2C, "MultiInputPolicy", spaces.Dict({"one": VECTOR, "other": VECTOR})),
    "CNN": lambda: make(TDA2C, MinAtarPolicy, SMALL_IMAGE),
}


class ThreadRecorder:
    """Records the number of threads whenever the actor computes."""

    def __init__(self, model: TDA2C) -> None:
        self.seen: set[int] = set()
        model.policy.action_net.register_forward_hook(lambda *_: self.seen.add(th.get_num_threads()))


@pytest.fixture(autouse=True)
def _two_threads(_one_thread: None) -> None:
    th.set_num_threads(2)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_take_one_thread(name: str) -> None:
    """To act, to learn and to predict; environments and callbacks have all threads."""
    model = SMALL[name]()
    recorder = ThreadRecorder(model)
    in_callbacks = set()
    model.learn(30, lambda *_: in_callbacks.add(th.get_num_threads()) is None)
    assert model._n_updates > 0
    assert model.env is not None
    model.predict(model.env.reset())
    assert recorder.seen == {1}
    assert in_callbacks == {th.get_num_threads()} == {2}


def test_large_batches_keep_their_threads() -> None:
    model = SMALL["MLP"]()
    recorder = ThreadRecorder(model)
    model.sample_actions(np.zeros((20_000, 4), np.float32))
    model.predict(np.zeros((20_000, 4), np.float32))
    assert recorder.seen == {2}


def test_large_images_keep_their_threads() -> None:
    """Their convolutions multiply by each weight many times."""
    model = make(TDA2C, "CnnPolicy", LARGE_IMAGE)
    recorder = ThreadRecorder(model)
    model.learn(12)
    assert recorder.seen == {2}


def test_threads_return_after_an_error() -> None:
    model = SMALL["LSTM"]()
    model.policy.action_net.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.learn(10)
    assert th.get_num_threads() == 2
