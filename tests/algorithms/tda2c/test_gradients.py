"""Facts about the gradients of the two losses."""

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines.autograd import AnyNetworks
from sb3_a2c_td.rollout.transitions import Transitions


@pytest.fixture(params=["CartPole-v1", "Pendulum-v1"])
def model(request) -> TDA2C:
    return TDA2C("MlpPolicy", make_vec_env(request.param, n_envs=3, seed=0), seed=0, device="cpu", n_steps=4)


def collected(model: TDA2C) -> Transitions[th.Tensor]:
    model.learn(9)  # stops within the first interval
    return model.rollout_buffer.tensors(model.device)


def gradients(parameters: list[th.nn.Parameter]) -> list[th.Tensor | None]:
    return [param.grad for param in parameters]


def test_each_loss_moves_its_own_network_only(model: TDA2C) -> None:
    batch = collected(model)
    engine, objective = AnyNetworks(model.policy), model._objective()
    targets, advantages, values = engine.targets_and_advantages(batch, None, objective)
    actor_loss, critic_loss, entropy_loss = engine.losses(batch, values, targets, advantages, objective)

    actor, critic = model.policy.actor_parameters(), model.policy.critic_parameters()
    model.policy.zero_grad()
    critic_loss.backward()
    assert all(grad is None for grad in gradients(actor))
    assert all(grad is not None and grad.any() for grad in gradients(critic))

    model.policy.zero_grad()
    (actor_loss + entropy_loss).backward()
    assert all(grad is None for grad in gradients(critic))
    assert any(grad is not None and grad.any() for grad in gradients(actor))


def test_targets_carry_no_gradient(model: TDA2C) -> None:
    engine = AnyNetworks(model.policy)
    targets, advantages, values = engine.targets_and_advantages(collected(model), None, model._objective())
    assert not targets.requires_grad
    assert not advantages.requires_grad
    assert values.requires_grad


def test_the_actor_gradient_is_the_finite_difference_of_its_loss(model: TDA2C) -> None:
    """Along a random direction, with the advantages held constant."""
    batch = collected(model)
    engine, objective = AnyNetworks(model.policy), model._objective()
    targets, advantages, values = engine.targets_and_advantages(batch, None, objective)
    actor = model.policy.actor_parameters()
    loss = engine.losses(batch, values, targets, advantages, objective)[0]
    gradient = th.autograd.grad(loss, actor)

    generator = th.Generator().manual_seed(0)
    direction = [th.randn(param.shape, generator=generator) for param in actor]
    slope = sum((g * d).sum().item() for g, d in zip(gradient, direction, strict=True))

    def loss_at(step: float) -> float:
        with th.no_grad():
            for param, d in zip(actor, direction, strict=True):
                param.add_(d, alpha=step)
            value = engine.losses(batch, values, targets, advantages, objective)[0].item()
            for param, d in zip(actor, direction, strict=True):
                param.sub_(d, alpha=step)
        return value

    assert (loss_at(1e-3) - loss_at(-1e-3)) / 2e-3 == pytest.approx(slope, rel=2e-2, abs=1e-4)


def test_a_learning_rate_of_zero_freezes_one_network() -> None:
    for frozen in ("learning_rate", "critic_learning_rate"):
        model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **{frozen: 0.0})
        before = {
            "learning_rate": [param.clone() for param in model.policy.actor_parameters()],
            "critic_learning_rate": [param.clone() for param in model.policy.critic_parameters()],
        }
        model.learn(50)
        after = {
            "learning_rate": model.policy.actor_parameters(),
            "critic_learning_rate": model.policy.critic_parameters(),
        }
        for name in before:
            moved = any(not th.equal(a, b) for a, b in zip(before[name], after[name], strict=True))
            assert moved == (name != frozen)


def test_the_critics_gradient_is_the_semi_gradient() -> None:
    """Not the gradient of the squared TD error: no term of V(s')."""
    model = TDA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu", n_steps=10, update_on_episode_end=False)
    model.learn(5)
    batch = model.rollout_buffer.tensors(model.device)
    engine, objective = AnyNetworks(model.policy), model._objective()
    targets, advantages, values = engine.targets_and_advantages(batch, None, objective)
    critic = model.policy.critic_parameters()
    gradient = th.autograd.grad(engine.losses(batch, values, targets, advantages, objective)[1], critic)

    semi_gradient = [np.zeros(param.shape) for param in critic]
    for observation, advantage in zip(batch.observations, advantages, strict=True):
        value = model.policy.predict_values(observation[None]).squeeze()
        for total, grad in zip(semi_gradient, th.autograd.grad(value, critic), strict=True):
            total -= 2 * advantage.item() * grad.numpy() / len(advantages)
    for g, expected in zip(gradient, semi_gradient, strict=True):
        np.testing.assert_allclose(g, expected, atol=1e-5)
