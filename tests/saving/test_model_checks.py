"""Models that are larger than their file, or whose weights are not finite."""

import io
import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_a2c_td import TDA2C, RecurrentTDA2C, UnreadableCheckpointError
from tests.environments import RandomEnv
from tests.saving.models import ARCHIVE, SMALL, load, saved, tensors
from tests.saving.pickles import dumps, with_file, with_pickle
from tests.saving.rollouts import unfinished


class Mean(BaseFeaturesExtractor):
    """Returns the mean of the observation. Its buffer is infinite, as masks of attention layers are."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=1)
        self.register_buffer("limit", th.tensor(th.inf))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return observations.flatten(1).mean(1, keepdim=True).minimum(self.limit)


HUGE: dict[str, tuple[str, Any]] = {
    "layers": ("policy_kwargs", {"net_arch": [10**9]}),
    "two layers": ("policy_kwargs", {"net_arch": [10**5, 10**5]}),
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


@pytest.mark.parametrize("space", [spaces.Discrete(3_000_000), spaces.MultiDiscrete([10, 3_000_000])], ids=str)
def test_empty_layers_cannot_hide_a_huge_space(space: spaces.Space[Any]) -> None:
    """A layer without units has no weights, however many numbers it reads."""
    archive = with_pickle(ARCHIVE, "policy_kwargs", dumps({"net_arch": [0]}))
    with pytest.raises(UnreadableCheckpointError, match="its settings ask for layers without units"):
        load(archive)
    with pytest.raises(UnreadableCheckpointError, match="networks much larger than those that it holds"):
        load(with_pickle(archive, "observation_space", dumps(space)))


def test_large_observations_may_have_small_networks() -> None:
    """As of an extractor that takes means over images. A box is in the file with all its bounds."""
    kwargs = {"net_arch": [2], "features_extractor_class": Mean}
    env = RandomEnv(spaces.Box(0, 255, (1_200, 1_200), np.uint8), spaces.Discrete(2))
    archive = saved(TDA2C("MlpPolicy", env, policy_kwargs=kwargs, device="cpu"))
    assert load(archive, custom_objects={"policy_kwargs": kwargs}).observation_space == env.observation_space


def test_views_of_one_storage_do_not_enlarge_the_limit() -> None:
    numbers = th.zeros(100_000)
    views = {f"view{i}": numbers.view(-1) for i in range(15)}
    archive = with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), **views}))
    # 2 * 1,500,000 weights: more than four times the numbers in the file
    with pytest.raises(UnreadableCheckpointError, match="networks much larger than those that it holds"):
        load(with_pickle(archive, "policy_kwargs", dumps({"net_arch": [1_200, 1_200]})))


@pytest.mark.parametrize("width", [1, np.int64(1)])
@pytest.mark.parametrize("container", [list, tuple, deque, np.array, lambda widths: {"pi": widths, "vf": []}])
def test_more_layers_than_tensors_are_refused_in_any_container(width: Any, container: Callable[[Any], Any]) -> None:
    archive = with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), "large": th.zeros(10**6)}))
    crafted = with_pickle(archive, "policy_kwargs", pickle.dumps({"net_arch": container([width] * 100)}))
    with pytest.raises(UnreadableCheckpointError, match="more layers than it has tensors"):
        load(crafted)


@pytest.mark.parametrize("n_layers", [10**6, np.int64(10**6)])
def test_more_recurrent_layers_than_tensors_are_refused(n_layers: Any) -> None:
    archive = with_pickle(saved(unfinished("recurrent")), "policy_kwargs", pickle.dumps({"n_lstm_layers": n_layers}))
    with pytest.raises(UnreadableCheckpointError, match="more layers than it has tensors"):
        RecurrentTDA2C.load(io.BytesIO(archive), device="cpu")


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_weights_must_be_finite(fault: float) -> None:
    weights = {**SMALL.policy.state_dict()}
    weights["value_net.bias"] = th.full_like(weights["value_net.bias"], fault)
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match="its weights 'value_net.bias' are not finite"):
            load(with_file(ARCHIVE, "policy.pth", tensors(weights)), trusted=trusted)
