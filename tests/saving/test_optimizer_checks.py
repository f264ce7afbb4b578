"""Optimizers whose saved settings and state do not fit their class or their parameters."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from stable_baselines3 import A2C

from sb3_a2c_td import TDA2C, UnreadableCheckpointError
from sb3_a2c_td.optimizers import AdamTFLike
from tests.environments import CountingEnv
from tests.saving.models import ARCHIVE, SMALL, load, saved, small, tensors, with_overlapping_moments
from tests.saving.pickles import with_file


@pytest.mark.parametrize(("name", "n_numbers"), [("exp_avg", 1), ("exp_avg_sq", 10_000), ("step", 0)])
def test_moments_of_another_shape_are_refused(name: str, n_numbers: int) -> None:
    """PyTorch's kernels would write beyond them."""
    state = SMALL.policy.optimizer.state_dict()
    state["state"][0] = {**state["state"][0], name: th.zeros(n_numbers)}
    with pytest.raises(UnreadableCheckpointError, match=f"'{name}' has the shape"):
        load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("exp_avg", [0.0]), ("exp_avg_sq", "text"), ("step", "1"), ("step", -1), ("step", th.tensor(-1.0))],
)
def test_moments_must_be_numbers(name: str, value: Any) -> None:
    state = SMALL.policy.optimizer.state_dict()
    state["state"][0] = {**state["state"][0], name: value}
    with pytest.raises(UnreadableCheckpointError, match=f"the optimizer's '{name}' is not a valid number"):
        load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)))


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
def test_moments_must_be_finite(fault: float) -> None:
    state = SMALL.policy.optimizer.state_dict()
    moment = state["state"][0]["exp_avg"]
    state["state"][0] = {**state["state"][0], "exp_avg": th.full_like(moment, fault)}
    for trusted in (False, True):
        with pytest.raises(UnreadableCheckpointError, match="the optimizer's 'exp_avg' is not finite"):
            load(with_file(ARCHIVE, "policy.optimizer.pth", tensors(state)), trusted=trusted)


def adam(**kwargs: Any) -> TDA2C:
    return small(policy_kwargs={"net_arch": [2], "optimizer_class": th.optim.Adam, "optimizer_kwargs": kwargs})


def with_state(model: TDA2C, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Save a model after its optimizer's state was changed."""
    state = model.policy.optimizer.state_dict()
    change(state)
    return with_file(saved(model), "policy.optimizer.pth", tensors(state))


def without(name: str) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for moments in state["state"].values():
            del moments[name]

    return change


@pytest.mark.parametrize(
    ("kwargs", "name"), [({}, "exp_avg"), ({}, "exp_avg_sq"), ({"amsgrad": True}, "max_exp_avg_sq"), ({}, "step")]
)
@pytest.mark.parametrize("fused", [False, True])
def test_a_missing_part_of_the_state_is_refused(kwargs: dict[str, Any], name: str, fused: bool) -> None:
    with pytest.raises(UnreadableCheckpointError, match=name):
        load(with_state(adam(fused=fused, **kwargs).learn(13), without(name)))


def test_a_state_of_no_parameter_is_refused() -> None:
    archive = with_state(small().learn(13), lambda state: state["state"].update(x={"exp_avg": th.zeros(2)}))
    with pytest.raises(UnreadableCheckpointError, match="a state of parameters that the model does not have"):
        load(archive)


SETTINGS: dict[str, Any] = {
    "betas": [(0.9,), ("a", "b"), (float("nan"), 0.9), (1.0, 1.0), None],
    "eps": [-1.0, "text", float("nan"), 2**1024, True],
    "lr": ["text", float("nan"), th.tensor([1.0, 2.0])],
    "weight_decay": [float("inf"), [0.0]],
    "amsgrad": [True, "text"],
    "maximize": ["text"],
    "capturable": [True],
    "differentiable": [True],
}
"""settings with which Adam cannot continue on the CPU, or not without a further moment"""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SETTINGS.items() for value in values])
def test_settings_that_the_optimizer_cannot_have_are_refused(name: str, value: Any) -> None:
    def change(state: dict[str, Any]) -> None:
        for group in state["param_groups"]:
            group[name] = value

    with pytest.raises(UnreadableCheckpointError, match="the optimizer"):
        load(with_state(adam().learn(13), change))


@pytest.mark.parametrize(
    "kind",
    [
        *(AdamTFLike, th.optim.Adadelta, th.optim.Adafactor, th.optim.Adagrad, th.optim.Adam, th.optim.Adamax),
        *(
            th.optim.AdamW,
            th.optim.ASGD,
            th.optim.NAdam,
            th.optim.RAdam,
            th.optim.RMSprop,
            th.optim.Rprop,
            th.optim.SGD,
        ),
    ],
)
def test_optimizers_load_as_they_were_saved(kind: type[th.optim.Optimizer]) -> None:
    kwargs = {"net_arch": [2], "optimizer_class": kind, "optimizer_kwargs": {}}
    if kind is th.optim.Adafactor:
        # unlike the others, it has no argument eps of one number
        kwargs["optimizer_kwargs"] = {"eps": (None, 1e-3)}
    model = small(policy_kwargs=kwargs).learn(13)
    loaded = load(saved(model), env=CountingEnv(7))
    before, after = model.policy.optimizer.state_dict(), loaded.policy.optimizer.state_dict()
    assert before["param_groups"] == after["param_groups"]
    th.testing.assert_close(after["state"], before["state"], rtol=0.0, atol=0.0)
    loaded.learn(20)


# set_parameters


@pytest.mark.parametrize("as_dict", [False, True])
def test_set_parameters_copies_moments_that_share_memory(as_dict: bool) -> None:
    kwargs = {"net_arch": [2], "optimizer_class": th.optim.Adam, "optimizer_kwargs": {"fused": True}}
    file: Any = io.BytesIO(with_overlapping_moments(kwargs, "exp_avg", fused=True))
    model = small(policy_kwargs=kwargs)
    model.set_parameters(TDA2C.load(file, device="cpu").get_parameters() if as_dict else file, device="cpu")
    for param, moments in model.policy.optimizer.state.items():
        assert moments["exp_avg"].stride() == param.stride()


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("name", ["exp_avg", "step"])
def test_set_parameters_leaves_the_optimizer_as_it_was_after_an_error(as_dict: bool, name: str) -> None:
    model = adam().learn(13)
    before = model.policy.optimizer.state_dict()["state"]
    other = adam().learn(13)
    archive = with_state(other, without(name))
    # the state dict is that of the optimizer
    crafted: Any = other.get_parameters() if as_dict else io.BytesIO(archive)
    with pytest.raises(UnreadableCheckpointError, match=name):
        model.set_parameters(crafted, device="cpu")
    th.testing.assert_close(model.policy.optimizer.state_dict()["state"], before, rtol=0.0, atol=0.0)
    model.learn(20)


def test_parameters_of_a2c_lead_to_its_weights() -> None:
    a2c = A2C("MlpPolicy", CountingEnv(7), policy_kwargs={"net_arch": [2]}, device="cpu")
    with pytest.raises(ValueError, match=r"other parameter groups than this model's .*A2C.load"):
        small().set_parameters(a2c.get_parameters(), exact_match=False)


def test_set_parameters_refuses_weights_that_are_not_finite() -> None:
    parameters = small().get_parameters()
    parameters["policy"]["value_net.bias"] = th.tensor([th.nan])
    with pytest.raises(UnreadableCheckpointError, match="its weights 'value_net.bias' are not finite"):
        small().set_parameters(parameters)


def test_set_parameters_reads_only_tensors() -> None:
    """So that files with code in other entries need not be trusted."""
    model = small(learning_rate=lambda progress: 1e-3 * progress).learn(13)
    archive = with_file(saved(model), "README.md", b"read me")
    other = small()
    other.set_parameters(io.BytesIO(archive), device="cpu")
    th.testing.assert_close(other.policy.state_dict(), model.policy.state_dict(), rtol=0.0, atol=0.0)
