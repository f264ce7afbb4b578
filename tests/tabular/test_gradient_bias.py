"""Whether the mean gradient of TDA2C's batches is the exact one."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from scipy.special import softmax

from sb3_a2c_td import TDA2C
from sb3_a2c_td.tabular.diagnostics import cosine
from sb3_a2c_td.tabular.exact import action_values, state_values, transition_matrix, visitation
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import garnet
from tests.tabular.models import logged, make_tabular_model, tabular_env, with_termination


class GradientRecorder(TDA2C):
    """Records the sum of the actor's gradient over each batch, and the batch's visits."""

    def train(self) -> None:
        observations = self.rollout_buffer.transitions().observations
        visits = observations.sum(axis=0)
        super().train()
        grad = th.nn.utils.parameters_to_vector([param.grad for param in self.policy.actor_parameters()])
        self.history = [*getattr(self, "history", []), (-len(observations) * grad.double().numpy(), visits)]


def recorded_gradients(mdp: TabularMDP, logits: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each batch's gradient with respect to the logits, (n_batches, S, A), and its visits, (n_batches, S).

    The learning rates are 0.
    """
    env = tabular_env(mdp, n_envs=16)
    model = GradientRecorder(
        "MlpPolicy",
        env,
        gamma=mdp.gamma,
        reward_scale=1.0,
        learning_rate=0.0,
        critic_learning_rate=0.0,
        policy_kwargs={"net_arch": []},
        seed=0,
        device="cpu",
    )
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.as_tensor(logits.T))
        model.policy.value_net.weight.copy_(th.as_tensor(values[None]))
    model.learn(16 * 5 * 500)
    gradients, visits = (np.array(column) for column in zip(*model.history, strict=True))
    n_states, n_actions = logits.shape
    by_logits = gradients[:, : n_states * n_actions].reshape(-1, n_actions, n_states).transpose(0, 2, 1)
    return by_logits, visits


def standardized(residuals: np.ndarray) -> np.ndarray:
    """Return the means over the first axis in units of their standard errors, without noise-free entries."""
    standard_errors = residuals.std(axis=0, ddof=1) / np.sqrt(len(residuals))
    noisy = standard_errors > 0
    return residuals.mean(axis=0)[noisy] / standard_errors[noisy]


def test_mean_gradient_matches_the_exact_one_of_the_visits() -> None:
    """It does with the exact critic, but not with a wrong one.

    Given the visits, a batch's gradient differs from Σ n(s) ∇π(a|s) Q(s, a) by martingale differences. These have mean
    zero and are uncorrelated, so the standard error over the batches is that of their mean.
    """
    mdp = with_termination(garnet(4, 3, gamma=0.9), 0.1)
    logits = np.random.default_rng(2).normal(size=(5, 3))
    policy = softmax(logits, axis=1)
    values = state_values(mdp, policy)
    by_visit = policy * (action_values(mdp, policy) - values[:, None])

    gradients, visits = recorded_gradients(mdp, logits, values)
    assert np.abs(standardized(gradients - visits[:, :, None] * by_visit)).max() < 5
    assert cosine(gradients.sum(axis=0).ravel(), (visits.sum(axis=0)[:, None] * by_visit).ravel()) > 0.99

    wrong = np.random.default_rng(3).normal(size=5) * ~mdp.terminal
    gradients, visits = recorded_gradients(mdp, logits, wrong)
    assert np.abs(standardized(gradients - visits[:, :, None] * by_visit)).max() > 10


def test_mean_gradient_does_not_discount_visits(tmp_path: Path) -> None:
    """It is parallel to ∇J only with γ = 1. The callback measures both cosines as predicted."""
    logits = np.random.default_rng(1).normal(size=(5, 3))
    policy = softmax(logits, axis=1)
    for gamma in (1.0, 0.3):
        base = garnet(4, 3, branching=2, seed=2)
        mdp = with_termination(TabularMDP(base.transitions, base.rewards, np.eye(4)[0], base.terminal, gamma), 0.05)
        undiscounted = np.zeros(5)
        p = transition_matrix(mdp, policy)[:-1, :-1]
        undiscounted[:-1] = np.linalg.solve((np.eye(4) - p).T, mdp.initial[:-1])
        by_visit = policy * (action_values(mdp, policy) - state_values(mdp, policy)[:, None])

        def direction(by_logits: np.ndarray) -> np.ndarray:
            return np.concatenate([by_logits.T.ravel(), by_logits.sum(axis=0)])

        expected = cosine(
            direction(undiscounted[:, None] * by_visit), direction(visitation(mdp, policy)[:, None] * by_visit)
        )
        model = make_tabular_model(mdp, logits, state_values(mdp, policy), n_envs=16, reward_scale=1.0)
        (row,) = logged(model, 16 * 5 * 500, tmp_path / str(gamma), log_freq=500)
        assert row["gradient_cosine_visited"] > 0.99
        assert row["gradient_cosine"] == pytest.approx(expected, abs=0.03)
        if gamma == 1.0:
            assert expected == pytest.approx(1.0, abs=1e-9)
        else:
            assert expected < 0.5


def test_batches_are_weighted_by_their_transitions(tmp_path: Path) -> None:
    """Episodes' ends shorten batches: state 0 is always alone in its batch, state 1 rarely."""
    transitions = np.zeros((3, 2, 3))
    transitions[[0, 2], :, 2] = 1.0
    transitions[1, :, 1:] = 0.8, 0.2
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    mdp = TabularMDP(transitions, rewards, np.array([0.5, 0.5, 0.0]), np.arange(3) == 2, gamma=1.0)
    logits = np.zeros((3, 2))
    values = state_values(mdp, softmax(logits, axis=1))
    model = make_tabular_model(mdp, logits, values, n_steps=5, reward_scale=1.0)
    (row,) = logged(model, 10_000, tmp_path, log_freq=3_500)
    assert 3_500 <= model._n_updates < 7_000
    assert row["gradient_cosine_visited"] > 0.99
    assert row["gradient_cosine"] > 0.99
