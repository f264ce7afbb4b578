"""Models that are larger than their file, or whose optimizer does not fit their parameters."""

from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from sb3_a2c_td import UnreadableCheckpointError
from tests.saving.models import ARCHIVE, SMALL, load, tensors
from tests.saving.pickles import dumps, with_file, with_pickle

HUGE: dict[str, tuple[str, Any]] = {
    "layers": ("policy_kwargs", {"net_arch": [10**9]}),
    "two layers": ("policy_kwargs", {"net_arch": [10**5, 10**5]}),
    "many layers": ("policy_kwargs", {"net_arch": [1] * 10_000}),
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
