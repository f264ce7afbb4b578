"""Facts about the gradients of the two losses, on every engine."""

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines import Update
from sb3_a2c_td.rollout.transitions import Transitions
from tests.engines import MLP_ENGINES

ENVS = ["CartPole-v1", "Pendulum-v1"]


def updated(engine: str, env_id: str) -> tuple[TDA2C, Transitions[th.Tensor], Update]:
    """Take an update with learning rates of 0, so that only the gradients change."""
    env = make_vec_env(env_id, n_envs=3, seed=0)
    rates = {"learning_rate": 0.0, "critic_learning_rate": 0.0}
    policy_kwargs = {"activation_fn": nn.Tanh}
    model = TDA2C("MlpPolicy", env, engine=engine, seed=0, device="cpu", policy_kwargs=policy_kwargs, **rates)
    model.learn(9)  # stops in the middle of the first rollout
    update = model._engine.update(model.rollout_buffer, model._loss_config(), model._streams)
    return model, model.rollout_buffer.tensors(model.device), update


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize("env_id", ENVS)
def test_the_actor_gradient_is_the_finite_difference_of_its_loss(env_id: str, engine: str) -> None:
    """Along a random direction, with the advantages held constant: the critic's loss does not reach the actor."""
    model, batch, update = updated(engine, env_id)
    advantages = th.as_tensor(update.targets - update.values)
    actor = model.policy.actor_parameters()
    generator = th.Generator().manual_seed(0)
    direction = [th.randn(param.shape, generator=generator) for param in actor]
    slope = sum((param.grad * d).sum().item() for param, d in zip(actor, direction, strict=True))

    @th.no_grad()
    def loss_at(step: float) -> float:
        for param, d in zip(actor, direction, strict=True):
            param.add_(d, alpha=step)
        _, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions)
        for param, d in zip(actor, direction, strict=True):
            param.sub_(d, alpha=step)
        return -(advantages.double() * log_prob.double()).mean().item()

    assert loss_at(0.0) == pytest.approx(update.actor_loss, rel=1e-4)
    assert (loss_at(1e-3) - loss_at(-1e-3)) / 2e-3 == pytest.approx(slope, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize("env_id", ENVS)
def test_the_critic_gradient_is_the_semi_gradient(env_id: str, engine: str) -> None:
    """Not the gradient of the squared TD error: no term of V(s'), and none of the actor's loss."""
    model, batch, update = updated(engine, env_id)
    critic = model.policy.critic_parameters()
    semi_gradient = [np.zeros(param.shape) for param in critic]
    for observation, advantage in zip(batch.observations, update.targets - update.values, strict=True):
        value = model.policy.predict_values(observation[None]).squeeze()
        for total, grad in zip(semi_gradient, th.autograd.grad(value, critic), strict=True):
            total -= 2 * advantage * grad.numpy() / len(update.targets)
    for param, expected in zip(critic, semi_gradient, strict=True):
        np.testing.assert_allclose(param.grad, expected, atol=1e-5)


@pytest.mark.parametrize("engine", MLP_ENGINES)
@pytest.mark.parametrize("frozen", ["learning_rate", "critic_learning_rate"])
def test_a_learning_rate_of_zero_freezes_one_network(frozen: str, engine: str) -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine=engine, seed=0, device="cpu", **{frozen: 0.0})
    networks = {"learning_rate": model.policy.actor_parameters, "critic_learning_rate": model.policy.critic_parameters}
    before = {name: [param.clone() for param in parameters()] for name, parameters in networks.items()}
    model.learn(50)
    for name, parameters in networks.items():
        moved = any(not th.equal(a, b) for a, b in zip(before[name], parameters(), strict=True))
        assert moved == (name != frozen)
