"""Exact metrics of a model, compared with hand tables, closed forms and finite differences."""

import copy
import dataclasses

import numpy as np
import pytest
import torch as th
from scipy.special import softmax

from sb3_a2c_td.tabular.diagnostics import action_probabilities, cosine, exact_metrics, parameter_gradient, value_rmse
from sb3_a2c_td.tabular.exact import action_values, objective, policy_gradient, visitation
from sb3_a2c_td.tabular.problems import garnet
from tests.tabular.models import make_model, make_tabular_model, with_termination


def test_cosine_by_hand() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(np.sqrt(0.5))
    assert cosine(np.array([2.0, 1.0]), np.array([-4.0, -2.0])) == pytest.approx(-1.0)
    assert np.isnan(cosine(np.zeros(2), np.ones(2)))


def test_value_rmse_by_hand() -> None:
    assert value_rmse(np.array([1.0, 2.0, 9.0]), np.zeros(3), np.array([3.0, 1.0, 0.0])) == pytest.approx(
        np.sqrt((3 * 1 + 1 * 4) / 4)
    )


@pytest.mark.parametrize("observation", ["discrete", "one_hot"])
def test_tabular_gradient_matches_the_softmax_gradient(observation: str) -> None:
    """With one-hot observations the actor's weights are the logits, and its biases are added to those of all states."""
    mdp, rng = garnet(6, 3), np.random.default_rng(0)
    model = make_tabular_model(mdp, rng.normal(size=(6, 3)), np.zeros(6), observation=observation)
    observations = np.arange(6) if observation == "discrete" else np.eye(6, dtype=np.float32)
    policy = action_probabilities(model.policy, observations)
    np.testing.assert_allclose(policy, softmax(model.policy.action_net.weight.detach().numpy().T, axis=1), rtol=1e-6)

    weights = visitation(mdp, policy)[:, None] * action_values(mdp, policy)
    exact = policy_gradient(mdp, policy)
    np.testing.assert_allclose(
        parameter_gradient(model.policy, observations, weights),
        np.concatenate([exact.T.ravel(), exact.sum(axis=0)]),
        rtol=1e-4,
        atol=1e-4 * np.abs(exact).max(),
    )


def test_network_gradient_matches_finite_differences() -> None:
    mdp = with_termination(garnet(6, 3, gamma=0.9), 0.1)
    model, observations = make_model(mdp, policy_kwargs={"activation_fn": th.nn.Tanh}), np.eye(7, dtype=np.float32)
    policy = action_probabilities(model.policy, observations)
    weights = visitation(mdp, policy)[:, None] * action_values(mdp, policy)
    gradient = parameter_gradient(model.policy, observations, weights)

    parameters, rng = model.policy.actor_parameters(), np.random.default_rng(0)
    start, h = th.nn.utils.parameters_to_vector(parameters).detach(), 1e-2
    for direction in (
        gradient / np.linalg.norm(gradient),
        *rng.normal(size=(3, len(gradient))) / np.sqrt(len(gradient)),
    ):
        ends = []
        for sign in (1, -1):
            th.nn.utils.vector_to_parameters(start + sign * h * th.as_tensor(direction).float(), parameters)
            ends.append(objective(mdp, action_probabilities(model.policy, observations)))
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(
            gradient @ direction, rel=1e-2, abs=1e-3 * np.linalg.norm(gradient)
        )


def test_exact_gradient_scales_with_the_rewards() -> None:
    mdp = with_termination(garnet(5, 3, gamma=0.9), 0.2)
    scaled = dataclasses.replace(mdp, rewards=1e-11 * mdp.rewards)
    model, observations, visits = make_model(mdp), np.eye(6, dtype=np.float32), np.arange(6.0)
    expected, small = (exact_metrics(model, process, observations, visits) for process in (mdp, scaled))
    np.testing.assert_allclose(1e11 * small.gradient, expected.gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(1e11 * small.visited_gradient, expected.visited_gradient, rtol=1e-4, atol=1e-6)
    assert np.linalg.norm(expected.gradient) > 0.1


def test_policy_can_be_copied_after_its_gradient() -> None:
    """SB3 keeps the last distribution, and one with an autograd graph has no deepcopy."""
    mdp = garnet(6, 3)
    policy, observations = make_model(mdp).policy, np.eye(6, dtype=np.float32)
    parameter_gradient(policy, observations, np.ones((6, 3)))
    copied = copy.deepcopy(policy)
    np.testing.assert_array_equal(
        action_probabilities(copied, observations), action_probabilities(policy, observations)
    )
