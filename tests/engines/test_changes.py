"""What is put into a policy or its optimiser while it is trained counts from the next call on, whatever the engine."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_a2c_td import TDA2C, AdamTFLike, MlpPolicy
from sb3_a2c_td.engines import auto_engine
from sb3_a2c_td.engines.numba_engine import NumbaEngine


class OwnPolicy(MlpPolicy):
    """Not taken for a plain MLP: PyTorch differentiates it."""


class SameActions(TDA2C):
    """Takes actions that are drawn beforehand."""

    def sample_actions(self, observations):
        super().sample_actions(observations)
        return np.random.default_rng(self.num_timesteps).integers(0, 2, self.n_envs)


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


CHANGES = [
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


def trained(policy: type[MlpPolicy], engine: str, change: Callable[[TDA2C], None]) -> TDA2C:
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0, env_kwargs={"max_episode_steps": 23})
    model = SameActions(policy, env, engine=engine, seed=0, device="cpu", n_steps=4).learn(400)
    change(model)
    return model.learn(400, reset_num_timesteps=False)


@pytest.mark.parametrize("engine", ["torch", "auto"])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_count(change: Callable[[TDA2C], None], engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_engine, "N_TORCH_UPDATES", 10)
    reference, model = trained(OwnPolicy, "torch", change), trained(MlpPolicy, engine, change)
    for ours, theirs in zip(model.policy.parameters(), reference.policy.parameters(), strict=True):
        th.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_unchanged_models_are_served_by_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_engine, "N_TORCH_UPDATES", 10)
    model = trained(MlpPolicy, "auto", put_a_tensor_in_place)
    assert isinstance(model._engine._engine, NumbaEngine)


def test_shared_memory_stays_shared() -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine="torch", device="cpu").learn(20)
    model.policy.share_memory()
    model.learn(20, reset_num_timesteps=False)
    assert all(param.is_shared() for param in model.policy.parameters())
