"""The metrics that the callback logs, and the settings that it rejects."""

import copy
import csv
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from scipy.special import softmax
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import CallbackList, EveryNTimesteps
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_a2c_td import TDA2C, RecurrentTDA2C
from sb3_a2c_td.envs.tabular import TabularEnv
from sb3_a2c_td.tabular.diagnostics import TabularDiagnosticsCallback, action_probabilities, cosine
from sb3_a2c_td.tabular.exact import objective, state_values
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk
from tests.algorithms.comparing import assert_same_parameters
from tests.engines import MLP_ENGINES
from tests.tabular.models import KEYS, logged, make_model, make_tabular_model, tabular_env, with_termination


@pytest.mark.parametrize("observation", ["discrete", "one_hot"])
@pytest.mark.parametrize("reward_scale", [0.01, 1.0])
def test_exact_critic_has_no_error(observation: str, reward_scale: float, tmp_path: Path) -> None:
    mdp = with_termination(garnet(5, 3, gamma=0.9), 0.2)
    logits = np.random.default_rng(1).normal(size=(6, 3))
    policy = softmax(logits, axis=1)
    values = state_values(mdp, policy)
    model = make_tabular_model(mdp, logits, values, observation=observation, reward_scale=reward_scale)
    for row in logged(model, 12, tmp_path):
        assert row["value_rmse"] == pytest.approx(0.0, abs=1e-5)
        assert row["objective"] == pytest.approx(objective(mdp, policy), rel=1e-5)


def test_value_error_has_the_units_of_the_rewards(tmp_path: Path) -> None:
    """States that are never visited have no weight."""
    mdp = random_walk()
    values = state_values(mdp, np.full((7, 2), 0.5)) + np.array([9.0, 0.3, 0.3, 0.3, 0.3, 0.3, 9.0])
    row, *_ = logged(make_tabular_model(mdp, np.zeros((7, 2)), values, reward_scale=0.1), 20, tmp_path)
    assert row["value_rmse"] == pytest.approx(0.3, rel=1e-5)
    assert row["objective"] == pytest.approx(0.5)
    # all policies have the same values, so the exact gradient is zero
    assert np.isnan(row["gradient_cosine"])


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_single_batch_by_hand(engine: str, tmp_path: Path) -> None:
    """One step with reward 1 for action 1. With V = 1/2, A = ±1/2, and every sample's gradient is the exact one."""
    transitions = np.zeros((2, 2, 2))
    transitions[:, :, 1] = 1.0
    mdp = TabularMDP(
        transitions, np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([1.0, 0.0]), np.array([False, True]), 0.9
    )
    model = make_model(mdp, engine=engine, reward_scale=1.0, learning_rate=0.0, critic_learning_rate=0.0)
    with th.no_grad():
        for param in (*model.policy.action_net.parameters(), *model.policy.value_net.parameters()):
            param.zero_()
        model.policy.value_net.bias.fill_(0.5)
    rows = logged(model, 6, tmp_path)
    assert len(rows) == 6
    for row in rows:
        assert row["gradient_cosine"] == pytest.approx(1.0, abs=1e-5)
        assert row["gradient_cosine_visited"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("log_freq", [1, 4])
def test_log_freq_counts_updates(log_freq: int, tmp_path: Path) -> None:
    model = make_model(chain(), n_envs=2, n_steps=3)
    rows = logged(model, 60, tmp_path, log_freq)
    assert model._n_updates == 10
    assert len(rows) == 10 // log_freq


def test_metrics_reach_csv_and_tensorboard(tmp_path: Path) -> None:
    model = make_model(chain(), n_envs=4, tensorboard_log=str(tmp_path))
    model.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    model.learn(200, TabularDiagnosticsCallback(log_freq=5), log_interval=3)
    model.logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= KEYS
    assert [event.step for event in events.Scalars("tabular/value_rmse")] == [100, 200]
    with (tmp_path / "progress.csv").open() as file:
        assert set(next(csv.reader(file))) >= KEYS


def test_native_vector_environments_are_supported(tmp_path: Path) -> None:
    env = gym.make_vec("sb3_a2c_td/Chain-v0", 16, observation="one_hot")
    model = TDA2C("MlpPolicy", env, learning_rate=0.0, device="cpu")
    policy = action_probabilities(model.policy, np.eye(5, dtype=np.float32))
    rows = logged(model, 800, tmp_path, log_freq=5)
    assert [row["objective"] for row in rows] == pytest.approx([objective(chain(), policy)] * 2)


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_callback_does_not_change_training(engine: str) -> None:
    kwargs = {"n_envs": 2, "engine": engine, "learning_rate": 1e-2}
    plain, with_callback = make_model(chain(), **kwargs).learn(200), make_model(chain(), **kwargs)
    callback = TabularDiagnosticsCallback(log_freq=3)
    with_callback.learn(200, CallbackList([callback, EveryNTimesteps(50, TabularDiagnosticsCallback())]))
    assert_same_parameters(plain, with_callback)


def test_callback_can_be_used_again(tmp_path: Path) -> None:
    callback = TabularDiagnosticsCallback(log_freq=3)
    model = make_model(chain(), n_envs=2).learn(100, callback)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(100, callback, reset_num_timesteps=False)
    model.logger.close()
    with (tmp_path / "progress.csv").open() as file:
        assert sum(bool(row.get("tabular/objective")) for row in csv.DictReader(file)) == 3


class IndependentMetrics(TDA2C):
    """Computes the exact metrics just before each update and records them with the update's gradient.

    In float64 and without the package's solutions: J is differentiated through the linear solve.
    """

    def train(self) -> None:
        (mdp, *_) = self.env.get_attr("mdp")
        visits = th.as_tensor(self.rollout_buffer.transitions().observations).double().sum(dim=0)
        policy, live = copy.deepcopy(self.policy).double(), ~mdp.terminal
        latent_pi, latent_vf = policy.mlp_extractor(th.eye(mdp.n_states, dtype=th.float64))
        probabilities = policy.action_net(latent_pi).softmax(dim=1)
        learned = policy.value_net(latent_vf).squeeze(1).detach().numpy() / self.reward_scale

        p = th.einsum("sa,sat->st", probabilities, th.tensor(mdp.transitions))[live][:, live]
        matrix = th.eye(len(p), dtype=th.float64) - mdp.gamma * p
        rewards = (probabilities * th.tensor(mdp.rewards)).sum(dim=1)[live]
        objective = th.tensor(mdp.initial)[live] @ th.linalg.solve(matrix, rewards)

        values, eta = np.zeros((2, mdp.n_states))
        known = matrix.detach().numpy()
        values[live], eta[live] = np.linalg.solve(known, rewards.detach()), np.linalg.solve(known.T, mdp.initial[live])
        q = th.as_tensor(mdp.rewards + mdp.gamma * mdp.transitions @ values)
        rmse = np.sqrt(np.sum(eta * (learned - values) ** 2) / np.sum(eta))

        def gradient(output: th.Tensor) -> np.ndarray:
            return flat(th.autograd.grad(output, policy.actor_parameters(), retain_graph=True))

        by_state = [gradient(value) for value in (probabilities * q).sum(dim=1)]
        metrics = (rmse, objective.item(), gradient(objective), by_state, visits.numpy())
        super().train()
        ascended = -visits.sum().item() * flat([param.grad for param in self.policy.actor_parameters()])
        self.history = [*getattr(self, "history", []), (*metrics, ascended)]


def flat(tensors: Sequence[th.Tensor]) -> np.ndarray:
    return th.nn.utils.parameters_to_vector(tensors).double().numpy()


def test_metrics_match_an_independent_computation(tmp_path: Path) -> None:
    mdp, log_freq = with_termination(garnet(5, 3, gamma=0.8), 0.2), 4
    model = IndependentMetrics(
        "MlpPolicy", tabular_env(mdp), 1e-2, gamma=0.8, critic_learning_rate=2e-2, seed=0, device="cpu"
    )
    rows = logged(model, 80, tmp_path, log_freq)
    assert len(rows) == len(model.history) // log_freq >= 3
    for i, row in enumerate(rows):
        window = model.history[i * log_freq : (i + 1) * log_freq]
        rmse, objective, gradient, by_state, *_ = window[-1]
        visits, ascended = (np.sum([update[j] for update in window], axis=0) for j in (4, 5))
        assert row["value_rmse"] == pytest.approx(rmse, rel=1e-5)
        assert row["objective"] == pytest.approx(objective, rel=1e-5)
        assert row["gradient_cosine"] == pytest.approx(cosine(ascended, gradient), abs=1e-5)
        assert row["gradient_cosine_visited"] == pytest.approx(cosine(ascended, visits @ by_state), abs=1e-5)


def test_unsupported_settings_are_rejected() -> None:
    callback = TabularDiagnosticsCallback()
    with pytest.raises(ValueError, match=r"log_freq must be an integer of at least 1, got 0"):
        TabularDiagnosticsCallback(log_freq=0)
    with pytest.raises(ValueError, match=r"has no attribute 'mdp': use a tabular environment such as"):
        TDA2C("MlpPolicy", "CartPole-v1", device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"model=A2C: TabularDiagnosticsCallback needs a TDA2C"):
        A2C("MlpPolicy", tabular_env(chain()), device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"model=RecurrentTDA2C: .* whose policy sees the state only"):
        RecurrentTDA2C("MlpLstmPolicy", tabular_env(chain()), device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"gamma=0.9 of the model differs from gamma=0.99 of its environment's mdp"):
        make_model(chain(), gamma=0.9).learn(10, callback)
    normalized = VecNormalize(tabular_env(chain()), norm_obs=False)
    with pytest.raises(ValueError, match=r"VecNormalize scales the rewards.* or VecNormalize\(norm_reward=False\)"):
        TDA2C("MlpPolicy", normalized, gamma=0.99, device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"VecNormalize scales the rewards.*use normalize_rewards=False"):
        make_model(chain(), normalize_rewards=True).learn(10, callback)
    envs = DummyVecEnv([lambda seed=seed: TabularEnv(garnet(seed=seed)) for seed in (0, 1)])
    with pytest.raises(ValueError, match=r"the environments' mdps differ in 'transitions'; use the same mdp"):
        TDA2C("MlpPolicy", envs, gamma=0.95, device="cpu").learn(10, callback)


def test_observations_must_be_states() -> None:
    callback = TabularDiagnosticsCallback()
    wider = DummyVecEnv([lambda: gym.wrappers.FrameStackObservation(TabularEnv(chain(), "one_hot"), 2)])
    with pytest.raises(ValueError, match=r"expected the indices of 5 states \(Discrete\), or their one-hot vectors"):
        TDA2C("MlpPolicy", wider, gamma=0.99, device="cpu").learn(10, callback)
    normalized = DummyVecEnv([lambda: TabularEnv(chain(), "one_hot")])
    with pytest.raises(ValueError, match=r"use normalize_observations=False"):
        TDA2C("MlpPolicy", normalized, gamma=0.99, device="cpu", normalize_observations=True).learn(10, callback)
    scaled = DummyVecEnv(
        [lambda: gym.wrappers.RescaleObservation(TabularEnv(chain(), "one_hot"), np.float32(0), np.float32(2))]
    )
    with pytest.raises(ValueError, match=r"expected the states' indices or their one-hot vectors"):
        TDA2C("MlpPolicy", scaled, gamma=0.99, device="cpu").learn(10, callback)
