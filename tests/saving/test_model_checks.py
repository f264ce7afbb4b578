"""Models that are larger than their file, or whose optimizer does not fit their parameters."""

from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from tests.environments import RandomEnv
from tests.saving.models import ARCHIVE, SMALL, load, saved, small, tensors
from tests.saving.pickles import dumps, with_file, with_pickle


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


@pytest.mark.parametrize(("name", "n_numbers"), [("exp_avg", 1), ("exp_avg_sq", 10_000), ("step", 0)])
def test_moments_of_another_shape_are_refused(name: str, n_numbers: int) -> None:
    """PyTorch's kernels would write beyond them."""
    state = SMALL.policy.optimizer.state_dict()
    state["state"][0] = {**state["state"][0], name: th.zeros(n_numbers)}
    with pytest.raises(UnreadableCheckpointError, match=f"'{name}' has the shape"):
        load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)))


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("exp_avg", [0.0]), ("exp_avg_sq", "text"), ("step", "1"), ("step", -1), ("step", th.tensor(-1.0))],
)
def test_moments_must_be_numbers(name: str, value: Any) -> None:
    state = SMALL.policy.optimizer.state_dict()
    state["state"][0] = {**state["state"][0], name: value}
    with pytest.raises(UnreadableCheckpointError, match=f"the optimizer's '{name}' is not a valid number"):
        load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)))


def test_views_of_one_storage_do_not_enlarge_the_limit() -> None:
    numbers = th.zeros(100_000)
    views = {f"view{i}": numbers.view(-1) for i in range(15)}
    archive = with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), **views}))
    # 2 * 1,500,000 weights: more than four times the numbers in the file
    with pytest.raises(UnreadableCheckpointError, match="networks much larger than those that it holds"):
        load(with_pickle(archive, "policy_kwargs", dumps({"net_arch": [1_200, 1_200]})))


def test_more_layers_than_tensors_are_refused_before_they_are_built() -> None:
    archive = with_file(ARCHIVE, "policy.pth", tensors({**SMALL.policy.state_dict(), "large": th.zeros(10**6)}))
    with pytest.raises(UnreadableCheckpointError, match="more layers than it has tensors"):
        load(with_pickle(archive, "policy_kwargs", dumps({"net_arch": {"pi": [1] * 100, "vf": []}})))


def with_overlapping_moments(policy_kwargs: dict[str, Any], name: str, fused: bool) -> bytes:
    """Save a model whose moments of one name are views of one number each, at the end of a storage."""
    model = small(policy_kwargs=policy_kwargs).learn(13)
    state = model.policy.optimizer.state_dict()
    for moments in state["state"].values():
        shape = moments[name].shape
        storage = th.full((moments[name].numel(),), float(moments[name].flatten()[0]))
        moments[name] = th.as_strided(storage, shape, [0] * len(shape), len(storage) - 1)
    for group in state["param_groups"]:
        group["fused"] = fused
    archive = with_file(saved(model), "policy.optimizer.pth", tensors(state))
    return with_pickle(archive, "policy_kwargs", dumps({**policy_kwargs, "optimizer_kwargs": {"fused": fused}}))


@pytest.mark.parametrize("fused", [False, True])
def test_moments_that_share_memory_are_copied(fused: bool) -> None:
    """PyTorch's fused kernels would write beyond the end of a moment whose numbers are all one number."""
    archive = with_overlapping_moments({"net_arch": [2], "optimizer_class": th.optim.Adam}, "exp_avg", fused)
    expected = small(policy_kwargs={"net_arch": [2], "optimizer_class": th.optim.Adam}).learn(13)
    for moments, ours in zip(
        load(archive).policy.optimizer.state.values(), expected.policy.optimizer.state.values(), strict=True
    ):
        assert moments["exp_avg"].stride() == ours["exp_avg"].stride()
        assert (moments["exp_avg"] == ours["exp_avg"].flatten()[0]).all()


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_weights_and_moments_must_be_finite(fault: float) -> None:
    weights = {**SMALL.policy.state_dict()}
    weights["value_net.bias"] = th.full_like(weights["value_net.bias"], fault)
    state = SMALL.policy.optimizer.state_dict()
    moment = state["state"][0]["exp_avg"]
    state["state"][0] = {**state["state"][0], "exp_avg": th.full_like(moment, fault)}
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match="its weights 'value_net.bias' are not finite"):
            load(with_file(ARCHIVE, "policy.pth", tensors(weights)), trusted=trusted)
        with pytest.raises(UnreadableCheckpointError, match="the optimizer's 'exp_avg' is not finite"):
            load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)), trusted=trusted)
