"""The autograd engine: its update, its modes, and the passes of the critic that it saves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from sb3_a2c_td import TDA2C, CnnPolicy, losses
from sb3_a2c_td.engines import autograd, value_reuse
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.engines.interface import DivergenceError
from sb3_a2c_td.engines.policy_outputs import state_values
from sb3_a2c_td.policies.separate import SeparateNetworks
from tests.environments import RandomEnv

IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
VECTOR = spaces.Box(-1, 1, (2,), np.float32)
SPACES = {"CnnPolicy": IMAGE, "MultiInputPolicy": spaces.Dict({"image": IMAGE, "vector": VECTOR})}
EPISODE_LENGTH = 7


def collected(policy: Any, space: spaces.Space, n_envs: int, n_steps: int, **policy_kwargs: Any) -> TDA2C:
    """Fill the buffer of a model with a rollout of ``n_steps`` steps."""
    envs = [lambda seed=seed: RandomEnv(space, spaces.Discrete(3), EPISODE_LENGTH, seed) for seed in range(n_envs)]
    # the rollout is one step longer, so that it stays in the buffer
    kwargs = {"n_steps": n_steps + 1, "update_on_episode_end": False, "policy_kwargs": policy_kwargs}
    return TDA2C(policy, DummyVecEnv(envs), seed=0, device="cpu", engine="autograd", **kwargs).learn(n_steps * n_envs)


def passes(model: TDA2C) -> list[tuple[str, int]]:
    """Take an update; return the mode and the rows of each pass of the critic."""
    seen = []

    def record(policy: SeparateNetworks, observations: Any) -> th.Tensor:
        values = state_values(policy, observations)
        seen.append(("training" if policy.training else "evaluation", len(values)))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autograd, "state_values", record)
        patch.setattr(value_reuse, "state_values", record)
        AutogradEngine(model.policy).update(model.rollout_buffer, model._loss_config(), model._streams)
    return seen


@pytest.mark.parametrize("policy", SPACES)
@pytest.mark.parametrize(("n_envs", "n_steps"), [(1, 5), (3, 1), (3, 5), (3, 16)])
def test_the_update_equals_one_written_out(policy: str, n_envs: int, n_steps: int) -> None:
    model = collected(policy, SPACES[policy], n_envs, n_steps)
    batch, parameters = model.rollout_buffer.tensors(model.device), list(model.policy.parameters())
    with th.no_grad():
        next_values = model.policy.predict_values(batch.next_observations).squeeze(1)
    values, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions)
    discount = losses.discounts(batch.terminated | batch.truncated, model.gamma)
    targets = losses.td_target(model.reward_scale * batch.rewards, discount, next_values)
    advantages = (targets - values.squeeze(1)).detach()
    loss = losses.actor_loss(log_prob, advantages) + losses.critic_loss(values.squeeze(1), targets)
    gradients = th.autograd.grad(loss, parameters)

    update = AutogradEngine(model.policy).update(model.rollout_buffer, model._loss_config(), model._streams)
    np.testing.assert_allclose(update.values, values.detach().squeeze(1), atol=1e-5)
    np.testing.assert_allclose(update.targets, targets, atol=1e-5)
    for param, gradient in zip(parameters, gradients, strict=True):
        th.testing.assert_close(param.grad, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("policy", SPACES)
@pytest.mark.parametrize(("n_steps", "n_ends"), [(5, 0), (10, 1), (16, 2)])
def test_the_critic_sees_a_large_observation_once(policy: str, n_steps: int, n_ends: int) -> None:
    """The second pass has only the observations after the last step, and the last ones of episodes."""
    n_envs = 3
    model = collected(policy, SPACES[policy], n_envs, n_steps)
    assert passes(model) == [("evaluation", n_steps * n_envs), ("evaluation", n_envs + n_ends * n_envs)]


def test_small_observations_are_not_compared() -> None:
    model = collected("MultiInputPolicy", spaces.Dict({"vector": VECTOR}), n_envs=3, n_steps=5)
    model.rollout_buffer.successors = None
    assert passes(model) == [("evaluation", 15), ("evaluation", 15)]


class OwnCnn(BaseFeaturesExtractor):
    """Its class is unknown, whatever its layers."""

    def __init__(self, observation_space: spaces.Box, layer: Callable[[], nn.Module] = nn.Identity) -> None:
        super().__init__(observation_space, features_dim=8)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 36), nn.Flatten(), layer())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.layers(observations)


class OwnPolicy(CnnPolicy):
    """Its methods may be its own."""


def policy_with(layer: type[nn.Module]) -> Callable[[CnnPolicy], None]:
    def put(policy: CnnPolicy) -> None:
        put_in = layer(512) if layer is nn.BatchNorm1d else layer()
        policy.vf_features_extractor.linear[1] = put_in.train(policy.training)

    return put


def replace_method(policy: CnnPolicy) -> None:
    predict_values = policy.predict_values
    policy.predict_values = lambda obs: predict_values(obs)


def replace_forward(policy: CnnPolicy) -> None:
    forward = policy.value_net.forward
    policy.value_net.forward = lambda features: forward(features)


ALTERATIONS: dict[str, Callable[[CnnPolicy], Any]] = {
    "dropout": policy_with(nn.Dropout),
    "batch norm": policy_with(nn.BatchNorm1d),
    "hook": lambda policy: policy.value_net.register_forward_hook(lambda *_: None),
    "pre-hook": lambda policy: policy.value_net.register_forward_pre_hook(lambda *_: None),
    "method": replace_method,
    "forward": replace_forward,
}
BOTH_PASSES = [("evaluation", 15), ("evaluation", 15), ("training", 15)]


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_policies_that_depend_on_the_mode_get_a_pass_in_training_mode(alteration: str) -> None:
    model = collected("CnnPolicy", IMAGE, n_envs=3, n_steps=5)
    ALTERATIONS[alteration](model.policy)
    assert passes(model) == BOTH_PASSES


@pytest.mark.parametrize(
    ("policy", "kwargs"), [("CnnPolicy", {"features_extractor_class": OwnCnn}), (OwnPolicy, {})], ids=["cnn", "policy"]
)
def test_unknown_classes_get_a_pass_in_training_mode(policy: Any, kwargs: dict[str, Any]) -> None:
    assert passes(collected(policy, IMAGE, n_envs=3, n_steps=5, **kwargs)) == BOTH_PASSES


def test_a_batch_of_one_stays_in_evaluation_mode() -> None:
    model = collected("CnnPolicy", IMAGE, n_envs=1, n_steps=1)
    policy_with(nn.BatchNorm1d)(model.policy)
    assert passes(model) == [("evaluation", 1), ("evaluation", 1)]


def test_batch_norm_gives_targets_in_evaluation_mode_and_losses_in_training_mode() -> None:
    kwargs = {"features_extractor_class": OwnCnn, "features_extractor_kwargs": {"layer": lambda: nn.BatchNorm1d(8)}}
    model = collected("CnnPolicy", IMAGE, n_envs=3, n_steps=10, **kwargs)
    policy, batch = model.policy, model.rollout_buffer.tensors(model.device)
    with th.no_grad():
        policy.vf_features_extractor.layers[2].running_mean.fill_(0.3)
        policy.set_training_mode(False)
        values, next_values = (
            policy.predict_values(obs).squeeze(1) for obs in (batch.observations, batch.next_observations)
        )
        discount = losses.discounts(batch.terminated | batch.truncated, model.gamma)
        targets = losses.td_target(model.reward_scale * batch.rewards, discount, next_values)
        policy.set_training_mode(True)
        training_values = policy.predict_values(batch.observations).squeeze(1)
        policy.vf_features_extractor.layers[2].reset_running_stats()
        policy.vf_features_extractor.layers[2].running_mean.fill_(0.3)
    assert (training_values - values).abs().max() > 0.01
    update = AutogradEngine(policy).update(model.rollout_buffer, model._loss_config(), model._streams)
    np.testing.assert_allclose(update.values, values, atol=1e-5)
    np.testing.assert_allclose(update.targets, targets, atol=1e-5)
    assert update.critic_loss == pytest.approx(losses.critic_loss(training_values, targets).item(), rel=1e-4)


def test_errors_of_the_policy_are_not_taken_for_divergence() -> None:
    model = TDA2C("MlpPolicy", "CartPole-v1", engine="autograd", device="cpu")

    def fail(observations: Any) -> Any:
        raise ValueError("no such key: 'speed'")

    model.policy.get_distribution = fail
    with pytest.raises(ValueError, match="^no such key: 'speed'") as raised:
        model.learn(10)
    assert not isinstance(raised.value.__cause__, DivergenceError)
