"""Models that are larger than their file, or whose optimizer does not fit their parameters."""

from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from sb3_a2c_td import UnreadableCheckpointError
from tests.saving.models import ARCHIVE, SMALL, load, saved, small, tensors
from tests.saving.pickles import dumps, with_file, with_pickle

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


@pytest.mark.parametrize("fused", [False, True])
def test_moments_that_share_memory_are_copied(fused: bool) -> None:
    """PyTorch's fused kernels would write beyond the end of a moment whose numbers are all one number."""
    model = small(policy_kwargs={"net_arch": [2], "optimizer_class": th.optim.Adam}).learn(13)
    archive = saved(model)
    kwargs = {"net_arch": [2], "optimizer_class": th.optim.Adam, "optimizer_kwargs": {"fused": fused}}
    archive = with_pickle(archive, "policy_kwargs", dumps(kwargs))
    state = model.policy.optimizer.state_dict()
    expected = {i: moments["exp_avg"].flatten()[0] for i, moments in state["state"].items()}
    for i, moments in state["state"].items():
        shape = moments["exp_avg"].shape
        storage = th.full((moments["exp_avg"].numel(),), float(expected[i]))
        moments["exp_avg"] = th.as_strided(storage, shape, [0] * len(shape), len(storage) - 1)
    loaded = load(with_file(archive, "policy.optimizer.pth", tensors(state)))
    for i, (param, moments) in enumerate(loaded.policy.optimizer.state.items()):
        assert moments["exp_avg"].stride() == param.stride()
        assert (moments["exp_avg"] == expected[i]).all()


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
