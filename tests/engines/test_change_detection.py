"""A structural change of a policy or its optimizer takes effect at the next update, with every engine."""

import copy
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_a2c_td import TDA2C, AdamTFLike
from sb3_a2c_td.engines import auto
from sb3_a2c_td.engines.numba_mlp import NumbaEngine
from tests.algorithms.comparing import assert_same_parameters
from tests.algorithms.given_actions import GivenActionsAfterDraws
from tests.engines import CLOSED_FORM_ENGINES, MLP_ENGINES


def replace_a_layer(model: TDA2C) -> None:
    layer = nn.Linear(16, 2)
    with th.no_grad():
        layer.weight.fill_(0.01)
        layer.bias.fill_(0.1)
    model.policy.action_net = layer


def replace_an_activation(model: TDA2C) -> None:
    model.policy.mlp_extractor.policy_net[1] = nn.ELU()


def listen_to_a_layer(model: TDA2C) -> None:
    model.policy.value_net.register_forward_hook(lambda module, inputs, output: 2 * output)


def listen_to_a_gradient(model: TDA2C) -> None:
    model.policy.action_net.weight.register_hook(lambda grad: grad.sign())


def freeze(model: TDA2C) -> None:
    model.policy.value_net.weight.requires_grad_(False)


def put_a_tensor_in_place(model: TDA2C) -> None:
    model.policy.action_net.bias.data = th.tensor([0.5, -0.5])


def clear_the_moments(model: TDA2C) -> None:
    model.policy.optimizer.state.clear()


def replace_the_optimizer(model: TDA2C) -> None:
    groups = [{"params": group["params"], "name": group["name"]} for group in model.policy.optimizer.param_groups]
    model.policy.optimizer = AdamTFLike(groups, eps=1e-3)


def change_the_settings(model: TDA2C) -> None:
    model.policy.optimizer.param_groups[0].update(betas=(0.5, 0.9), eps=1e-2)


def share_the_memory(model: TDA2C) -> None:
    model.policy.share_memory()


def patch_the_step(model: TDA2C) -> None:
    optimizer = model.policy.optimizer
    step = optimizer.step

    def doubled(*args):
        step()
        step()

    optimizer.step = doubled


def replace_the_policy(model: TDA2C) -> None:
    with th.no_grad():
        # SB3 keeps the last distribution, and one with a graph has no deepcopy
        model.policy.get_distribution(th.zeros(1, 4))
    model.policy = copy.deepcopy(model.policy)
    with th.no_grad():
        model.policy.value_net.bias.add_(1.0)


def assign_tensors(model: TDA2C) -> None:
    state = {key: value.clone() for key, value in model.policy.state_dict().items()}
    state["action_net.bias"] += th.tensor([1.0, -1.0])
    model.policy.load_state_dict(state, assign=True)


def replace_a_method(model: TDA2C) -> None:
    predict_values = model.policy.predict_values
    model.policy.predict_values = lambda obs: 2 * predict_values(obs)


def listen_again(model: TDA2C) -> None:
    """A tensor keeps an empty dict of hooks when the last one is removed."""
    weight = model.policy.action_net.weight
    weight.register_hook(lambda grad: grad).remove()
    model.learn(20, reset_num_timesteps=False)
    weight.register_hook(lambda grad: 10 * grad)


def replace_a_forward(model: TDA2C) -> None:
    forward = model.policy.value_net.forward
    model.policy.value_net.forward = lambda x: 2 * forward(x)


def replace_an_activations_forward(model: TDA2C) -> None:
    model.policy.mlp_extractor.policy_net[1].forward = th.sigmoid


def replace_the_extractors_method(model: TDA2C) -> None:
    mlp = model.policy.mlp_extractor
    mlp.forward_critic = lambda features: 2 * mlp.value_net(features)


def replace_a_state(model: TDA2C) -> None:
    weight = model.policy.action_net.weight
    model.policy.optimizer.state[weight] = {
        "step": 3,
        "exp_avg": th.zeros_like(weight),
        "exp_avg_sq": th.ones_like(weight),
    }


def listen_to_an_accumulated_gradient(model: TDA2C) -> None:
    def negate(param: th.Tensor) -> None:
        param.grad.neg_()

    model.policy.action_net.weight.register_post_accumulate_grad_hook(negate)


def empty_a_group(model: TDA2C) -> None:
    model.policy.optimizer.param_groups[0]["params"] = []


def reverse_the_groups(model: TDA2C) -> None:
    model.policy.optimizer.param_groups.reverse()


CHANGES = [
    assign_tensors,
    replace_a_method,
    listen_again,
    replace_a_forward,
    replace_an_activations_forward,
    replace_the_extractors_method,
    replace_a_state,
    listen_to_an_accumulated_gradient,
    empty_a_group,
    reverse_the_groups,
    replace_a_layer,
    replace_an_activation,
    listen_to_a_layer,
    listen_to_a_gradient,
    freeze,
    put_a_tensor_in_place,
    clear_the_moments,
    replace_the_optimizer,
    change_the_settings,
    share_the_memory,
    patch_the_step,
    replace_the_policy,
]


N_STEPS = 160
"""before a change, and after it"""


def compile_after(n_updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``"auto"`` change to numba in trainings of any length."""
    monkeypatch.setattr(auto, "N_NUMPY_UPDATES", n_updates)
    monkeypatch.setattr(auto, "MIN_STEPS_TO_COMPILE", 0)


def trained(engine: str, change: Callable[[TDA2C], None]) -> TDA2C:
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0, env_kwargs={"max_episode_steps": 23})
    model = GivenActionsAfterDraws("MlpPolicy", env, engine=engine, seed=0, device="cpu", n_steps=4)
    # a change may itself take steps
    model.given = np.random.default_rng(0).integers(0, 2, (2 * N_STEPS, 2))
    model.learn(N_STEPS)
    change(model)
    return model.learn(N_STEPS, reset_num_timesteps=False)


@cache
def autograd(change: Callable[[TDA2C], None]) -> TDA2C:
    """Differentiate by PyTorch, once for all engines."""
    return trained("autograd", change)


@pytest.mark.parametrize("n_numpy_updates", [10, 30], ids=["after numba", "before numba"])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_take_effect(
    change: Callable[[TDA2C], None], n_numpy_updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes after 20 of 40 updates: with numba in use, or before it is due. No fallback warns."""
    compile_after(n_numpy_updates, monkeypatch)
    reference, model = autograd(change), trained("auto", change)
    assert_same_parameters(model, reference, atol=1e-5)


class ChangeOnce(BaseCallback):
    """Changes the model in the middle of the sixth rollout, or at its end."""

    def __init__(self, change: Callable[[TDA2C], None], moment: str) -> None:
        super().__init__()
        self.change, self.moment, self.n_rollouts = change, moment, 0

    def _on_rollout_start(self) -> None:
        self.n_rollouts += 1

    def _on_step(self) -> bool:
        if self.moment == "step" and self.n_rollouts == 6 and self.model.rollout_buffer.n_steps == 2:
            self.change(self.model)
        return True

    def _on_rollout_end(self) -> None:
        if self.moment == "rollout end" and self.n_rollouts == 6:
            self.change(self.model)


def load_parameters(model: TDA2C) -> None:
    other = TDA2C("MlpPolicy", "CartPole-v1", seed=1, device="cpu").learn(50)
    model.set_parameters(other.get_parameters())


def with_given_actions(engine: str, n_envs: int = 1) -> GivenActionsAfterDraws:
    env = make_vec_env("CartPole-v1", n_envs=n_envs, seed=0, env_kwargs={"max_episode_steps": 23})
    model = GivenActionsAfterDraws("MlpPolicy", env, engine=engine, seed=0, device="cpu", n_steps=4)
    model.given = np.random.default_rng(0).integers(0, 2, (200, n_envs))
    return model


@pytest.mark.parametrize("engine", ["auto", "numba"])
@pytest.mark.parametrize("moment", ["step", "rollout end"])
@pytest.mark.parametrize("change", [load_parameters, put_a_tensor_in_place, replace_the_optimizer, change_the_settings])
def test_changes_by_a_callback_take_effect_at_the_update_of_their_rollout(
    change: Callable[[TDA2C], None], moment: str, engine: str
) -> None:
    reference, model = with_given_actions("autograd", n_envs=2), with_given_actions(engine, n_envs=2)
    for each in (reference, model):
        each.learn(6 * 4 * 2, ChangeOnce(change, moment))
    assert_same_parameters(model, reference, atol=1e-6)
    steps, expected = ([state["step"] for state in each.policy.optimizer.state.values()] for each in (model, reference))
    assert steps == expected


def test_a_model_trained_on_the_same_policy_by_a_callback_loses_no_update() -> None:
    reference, model = with_given_actions("autograd"), with_given_actions("numba")
    for first in (reference, model):
        second = with_given_actions(first.engine)
        second.policy = first.policy
        first.learn(6 * 4, ChangeOnce(lambda _, other=second: other.learn(10), "step"))
    assert_same_parameters(model, reference, atol=1e-6)


def test_a_copy_with_numba_trains_as_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, so it does not start with numpy again."""
    compile_after(10, monkeypatch)
    model = with_given_actions("auto").learn(100)
    copied = copy.deepcopy(model)
    model.learn(50, reset_num_timesteps=False)
    copied.learn(50, reset_num_timesteps=False)
    assert_same_parameters(copied, model)


def test_a_replaced_tensor_stays_with_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_after(10, monkeypatch)
    model = trained("auto", put_a_tensor_in_place)
    assert isinstance(model._engine._engine, NumbaEngine)


def test_shared_memory_stays_shared() -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine="autograd", device="cpu").learn(20)
    model.policy.share_memory()
    model.learn(20, reset_num_timesteps=False)
    assert all(param.is_shared() for param in model.policy.parameters())


@pytest.mark.parametrize("engine", ["autograd", "auto"])
@pytest.mark.parametrize("change", ["layer", "hook", "tensors", "method"])
def test_the_next_training_draws_from_the_changed_policy(
    change: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_after(2, monkeypatch)
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, seed=0, device="cpu").learn(20)
    observations = np.zeros((200, 4), np.float32)
    assert 0 < model.sample_actions(observations).mean() < 1
    always_first = nn.Linear(16, 2)
    with th.no_grad():
        always_first.bias.copy_(th.tensor([100.0, -100.0]))
    if change == "layer":
        model.policy.action_net = always_first
    elif change == "hook":
        model.policy.action_net.register_forward_hook(lambda module, inputs, output: always_first(inputs[0]))
    elif change == "tensors":
        state = model.policy.state_dict() | {"action_net.bias": th.tensor([100.0, -100.0])}
        model.policy.load_state_dict(state, assign=True)
    else:
        get_distribution = model.policy.get_distribution

        def certain(obs):
            model.policy.action_net.bias.data[:] = th.tensor([100.0, -100.0])
            return get_distribution(obs)

        model.policy.get_distribution = certain
    model.learn(1, reset_num_timesteps=False)
    assert not model.sample_actions(observations).any()


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_replaced_step_counts_continue(engine: str) -> None:
    policy_kwargs = {"optimizer_class": th.optim.Adam}
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, policy_kwargs=policy_kwargs, device="cpu").learn(50)
    for state in model.policy.optimizer.state.values():
        state["step"] = th.tensor(0.0)
    before = model._n_updates
    model.learn(100, reset_num_timesteps=False)
    assert {int(state["step"]) for state in model.policy.optimizer.state.values()} == {model._n_updates - before}


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_gradients_are_visible_again_after_zero_grad(engine: str) -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, seed=0, device="cpu").learn(20)
    model.policy.optimizer.zero_grad()
    assert all(param.grad is None for param in model.policy.parameters())
    model.learn(20, reset_num_timesteps=False)
    assert all(param.grad.abs().max() > 0 for param in model.policy.value_net.parameters())


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_an_infinite_loss_takes_no_step(engine: str) -> None:
    model = TDA2C("MlpPolicy", "Pendulum-v1", engine=engine, seed=0, device="cpu", n_steps=10).learn(5)
    with th.no_grad():
        model.policy.log_std.fill_(th.inf)
    before = [param.clone() for param in model.policy.parameters()]
    update = model._engine.update(model.rollout_buffer, model._loss_config(), model._streams)
    assert not np.isfinite(update.actor_loss)
    assert all(th.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_auto_continues_with_numpy_where_numba_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self, policy) -> None:
        raise RuntimeError("no locator available")

    compile_after(10, monkeypatch)
    monkeypatch.setattr(NumbaEngine, "__init__", fails)
    model = TDA2C("MlpPolicy", "CartPole-v1", device="cpu")
    with pytest.warns(UserWarning, match="continues with numpy, since numba failed: no locator available"):
        model.learn(200)
    assert model.num_timesteps == 200


@pytest.mark.parametrize("engine", CLOSED_FORM_ENGINES)
def test_observations_beyond_float32_are_refused(engine: str) -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, policy_kwargs={"activation_fn": nn.Tanh}, device="cpu")
    with pytest.raises(ValueError, match="observations: not finite as float32"):
        model.sample_actions(np.full((1, 4), 1e300))
