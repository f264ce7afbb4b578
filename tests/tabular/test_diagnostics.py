"""TDA2C on tabular environments, measured against their exact solutions."""

import copy
import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from scipy.special import softmax
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import CallbackList, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_a2c_td import TDA2C
from sb3_a2c_td.envs.tabular import TabularEnv
from sb3_a2c_td.schedules import robbins_monro_schedule
from sb3_a2c_td.tabular.diagnostics import (
    TabularDiagnosticsCallback,
    action_probabilities,
    cosine,
    exact_answers,
    parameter_gradient,
    value_rmse,
)
from sb3_a2c_td.tabular.exact import (
    action_values,
    objective,
    optimal_policy,
    policy_gradient,
    state_values,
    transition_matrix,
    visitation,
)
from sb3_a2c_td.tabular.mdp import TabularMDP
from sb3_a2c_td.tabular.problems import chain, garnet, random_walk

KEYS = {f"tabular/{name}" for name in ("value_rmse", "objective", "gradient_cosine", "gradient_cosine_visited")}
OBSERVATIONS = ["discrete", "one_hot"]


def ending(mdp: TabularMDP, probability: float) -> TabularMDP:
    """Give the same process with one more state, terminal, into which every step may lead."""
    n_states, n_actions = mdp.rewards.shape
    transitions = np.zeros((n_states + 1, n_actions, n_states + 1))
    transitions[:-1, :, :-1] = (1 - probability) * mdp.transitions
    transitions[:-1, :, -1] = probability
    transitions[-1, :, -1] = 1.0
    rewards = np.vstack([mdp.rewards, np.zeros(n_actions)])
    return TabularMDP(transitions, rewards, np.append(mdp.initial, 0.0), np.arange(n_states + 1) == n_states, mdp.gamma)


def tabular_env(mdp: TabularMDP, n_envs: int = 1, observation: str = "one_hot") -> DummyVecEnv:
    return DummyVecEnv([lambda: TabularEnv(mdp, observation)] * n_envs)


def make(mdp: TabularMDP, n_envs: int = 1, observation: str = "one_hot", **kwargs) -> TDA2C:
    kwargs = {"gamma": mdp.gamma, "seed": 0, "device": "cpu"} | kwargs
    return TDA2C("MlpPolicy", tabular_env(mdp, n_envs, observation), **kwargs)


def make_linear(mdp: TabularMDP, logits: np.ndarray, values: np.ndarray, n_envs: int = 1, **kwargs) -> TDA2C:
    """Make a model whose actor and critic are tables, with these entries, and which does not learn."""
    kwargs = {"learning_rate": 0.0, "critic_learning_rate": 0.0, "policy_kwargs": {"net_arch": []}} | kwargs
    model = make(mdp, n_envs, **kwargs)
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.as_tensor(logits.T))
        model.policy.value_net.weight.copy_(th.as_tensor(model.reward_scale * values[None]))
    return model


def logged(model: TDA2C, n_steps: int, folder: Path, log_freq: int = 1) -> list[dict[str, float]]:
    """Train with the callback and give the rows of the CSV that are its own."""
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(n_steps, TabularDiagnosticsCallback(log_freq))
    model.logger.close()
    with (folder / "progress.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("tabular/objective")]
    return [{key.removeprefix("tabular/"): float(row[key]) for key in KEYS} for row in rows]


# The parts


def test_the_cosine() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(np.sqrt(0.5))
    assert cosine(np.array([2.0, 1.0]), np.array([-4.0, -2.0])) == pytest.approx(-1.0)
    assert np.isnan(cosine(np.zeros(2), np.ones(2)))


def test_the_value_error() -> None:
    assert value_rmse(np.array([1.0, 2.0, 9.0]), np.zeros(3), np.array([3.0, 1.0, 0.0])) == pytest.approx(
        np.sqrt((3 * 1 + 1 * 4) / 4)
    )


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_the_gradient_of_tables_is_that_of_the_logits(observation: str) -> None:
    """With one-hot observations the actor's weights are the logits, and its biases are added to all states'."""
    mdp, rng = garnet(6, 3), np.random.default_rng(0)
    model = make_linear(mdp, rng.normal(size=(6, 3)), np.zeros(6), observation=observation)
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


def test_the_gradient_of_a_network_is_that_of_finite_differences() -> None:
    mdp = ending(garnet(6, 3, gamma=0.9), 0.1)
    model, observations = make(mdp, policy_kwargs={"activation_fn": th.nn.Tanh}), np.eye(7, dtype=np.float32)
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


# What is logged


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("reward_scale", [0.01, 1.0])
def test_exact_answers_are_found_exact(observation: str, reward_scale: float, tmp_path: Path) -> None:
    mdp = ending(garnet(5, 3, gamma=0.9), 0.2)
    logits = np.random.default_rng(1).normal(size=(6, 3))
    policy = softmax(logits, axis=1)
    values = state_values(mdp, policy)
    model = make_linear(mdp, logits, values, observation=observation, reward_scale=reward_scale)
    for row in logged(model, 12, tmp_path):
        assert row["value_rmse"] == pytest.approx(0.0, abs=1e-5)
        assert row["objective"] == pytest.approx(objective(mdp, policy), rel=1e-5)


def test_the_value_error_is_in_units_of_the_rewards(tmp_path: Path) -> None:
    """And a state that is never visited counts for nothing."""
    mdp = random_walk()
    values = state_values(mdp, np.full((7, 2), 0.5)) + np.array([9.0, 0.3, 0.3, 0.3, 0.3, 0.3, 9.0])
    row, *_ = logged(make_linear(mdp, np.zeros((7, 2)), values, reward_scale=0.1), 20, tmp_path)
    assert row["value_rmse"] == pytest.approx(0.3, rel=1e-5)
    assert row["objective"] == pytest.approx(0.5)
    # all policies have the same values
    assert np.isnan(row["gradient_cosine"])


def test_the_exact_gradient_has_the_unit_of_the_rewards() -> None:
    mdp = ending(garnet(5, 3, gamma=0.9), 0.2)
    scaled = dataclasses.replace(mdp, rewards=1e-11 * mdp.rewards)
    model, observations, visits = make(mdp), np.eye(6, dtype=np.float32), np.arange(6.0)
    expected, small = (exact_answers(model, process, observations, visits) for process in (mdp, scaled))
    np.testing.assert_allclose(1e11 * small.gradient, expected.gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(1e11 * small.visited_gradient, expected.visited_gradient, rtol=1e-4, atol=1e-6)
    assert np.linalg.norm(expected.gradient) > 0.1


@pytest.mark.parametrize("engine", ["autograd", "numpy", "numba"])
def test_a_single_batch_by_hand(engine: str, tmp_path: Path) -> None:
    """One state that pays 1 for action 1, and ends: with V = 1/2, A = ±1/2 and the gradient is exact in every draw."""
    transitions = np.zeros((2, 2, 2))
    transitions[:, :, 1] = 1.0
    mdp = TabularMDP(
        transitions, np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([1.0, 0.0]), np.array([False, True]), 0.9
    )
    model = make(mdp, engine=engine, reward_scale=1.0, learning_rate=0.0, critic_learning_rate=0.0)
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
def test_how_often_it_logs(log_freq: int, tmp_path: Path) -> None:
    model = make(chain(), n_envs=2, n_steps=3)
    rows = logged(model, 60, tmp_path, log_freq)
    assert model._n_updates == 10
    assert len(rows) == 10 // log_freq


def test_csv_and_tensorboard(tmp_path: Path) -> None:
    model = make(chain(), n_envs=4, tensorboard_log=str(tmp_path))
    model.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    model.learn(200, TabularDiagnosticsCallback(log_freq=5), log_interval=3)
    model.logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= KEYS
    assert [event.step for event in events.Scalars("tabular/value_rmse")] == [100, 200]
    with (tmp_path / "progress.csv").open() as file:
        assert set(next(csv.reader(file))) >= KEYS


def test_native_vector_environments(tmp_path: Path) -> None:
    env = gym.make_vec("sb3_a2c_td/Chain-v0", 16, observation="one_hot")
    model = TDA2C("MlpPolicy", env, learning_rate=0.0, device="cpu")
    policy = action_probabilities(model.policy, np.eye(5, dtype=np.float32))
    rows = logged(model, 800, tmp_path, log_freq=5)
    assert [row["objective"] for row in rows] == pytest.approx([objective(chain(), policy)] * 2)


@pytest.mark.parametrize("engine", ["autograd", "numpy", "numba"])
def test_it_does_not_touch_training(engine: str) -> None:
    kwargs = {"n_envs": 2, "engine": engine, "learning_rate": 1e-2}
    plain, watched = make(chain(), **kwargs).learn(200), make(chain(), **kwargs)
    callback = TabularDiagnosticsCallback(log_freq=3)
    watched.learn(200, CallbackList([callback, EveryNTimesteps(50, TabularDiagnosticsCallback())]))
    for first, second in zip(plain.policy.parameters(), watched.policy.parameters(), strict=True):
        assert th.equal(first, second)
    copy.deepcopy(watched.policy)
    watched.learn(100, callback, reset_num_timesteps=False)


class IndependentAnswers(TDA2C):
    """Keeps what there is to know just before each update, and then the sum over its batch of what it ascends.

    In float64, and without the package's solutions: the gradient of J is taken through the linear solve.
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

        def gradient(of: th.Tensor) -> np.ndarray:
            return flat(th.autograd.grad(of, policy.actor_parameters(), retain_graph=True))

        by_state = [gradient(of_state) for of_state in (probabilities * q).sum(dim=1)]
        answers = (rmse, objective.item(), gradient(objective), by_state, visits.numpy())
        super().train()
        ascended = -visits.sum().item() * flat([param.grad for param in self.policy.actor_parameters()])
        self.history = [*getattr(self, "history", []), (*answers, ascended)]


def flat(tensors: Sequence[th.Tensor]) -> np.ndarray:
    return th.nn.utils.parameters_to_vector(tensors).double().numpy()


def test_every_row_is_of_its_window_and_of_the_policy_before_its_last_update(tmp_path: Path) -> None:
    mdp, log_freq = ending(garnet(5, 3, gamma=0.8), 0.2), 4
    model = IndependentAnswers(
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


# Whether the gradient is unbiased


class GradientRecorder(TDA2C):
    """Keeps the sum over each batch of what its update descends, and the visits that it holds."""

    def train(self) -> None:
        observations = self.rollout_buffer.transitions().observations
        visits = observations.sum(axis=0)
        super().train()
        grad = th.nn.utils.parameters_to_vector([param.grad for param in self.policy.actor_parameters()])
        self.history = [*getattr(self, "history", []), (-len(observations) * grad.double().numpy(), visits)]


def recorded_gradients(mdp: TabularMDP, logits: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each batch's gradient by the logits, (n_batches, S, A), and visits, (n_batches, S); nothing is learnt."""
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


def standardised(residuals: np.ndarray) -> np.ndarray:
    """Give the means over the first axis in units of their standard errors, where there is any noise."""
    standard_errors = residuals.std(axis=0, ddof=1) / np.sqrt(len(residuals))
    noisy = standard_errors > 0
    return residuals.mean(axis=0)[noisy] / standard_errors[noisy]


def test_the_mean_batch_gradient_is_the_exact_one_of_the_visits() -> None:
    """With the exact critic; with one that knows nothing, it is not.

    Given the visits, a batch differs from Σ n(s) ∇τ(a|s) Q(s, a) by differences of a martingale, which have mean zero
    and are uncorrelated, so that the standard error over the batches is that of their mean.
    """
    mdp = ending(garnet(4, 3, gamma=0.9), 0.1)
    logits = np.random.default_rng(2).normal(size=(5, 3))
    policy = softmax(logits, axis=1)
    values = state_values(mdp, policy)
    by_visit = policy * (action_values(mdp, policy) - values[:, None])

    gradients, visits = recorded_gradients(mdp, logits, values)
    assert np.abs(standardised(gradients - visits[:, :, None] * by_visit)).max() < 5
    assert cosine(gradients.sum(axis=0).ravel(), (visits.sum(axis=0)[:, None] * by_visit).ravel()) > 0.99

    wrong = np.random.default_rng(3).normal(size=5) * ~mdp.terminal
    gradients, visits = recorded_gradients(mdp, logits, wrong)
    assert np.abs(standardised(gradients - visits[:, :, None] * by_visit)).max() > 10


def test_the_mean_batch_gradient_weights_visits_without_discount(tmp_path: Path) -> None:
    """So it is parallel to ∇J only with γ = 1; the callback measures both, as the theory foresees them."""
    logits = np.random.default_rng(1).normal(size=(5, 3))
    policy = softmax(logits, axis=1)
    for gamma in (1.0, 0.3):
        base = garnet(4, 3, branching=2, seed=2)
        mdp = ending(TabularMDP(base.transitions, base.rewards, np.eye(4)[0], base.terminal, gamma), 0.05)
        undiscounted = np.zeros(5)
        p = transition_matrix(mdp, policy)[:-1, :-1]
        undiscounted[:-1] = np.linalg.solve((np.eye(4) - p).T, mdp.initial[:-1])
        by_visit = policy * (action_values(mdp, policy) - state_values(mdp, policy)[:, None])

        def direction(by_logits: np.ndarray) -> np.ndarray:
            return np.concatenate([by_logits.T.ravel(), by_logits.sum(axis=0)])

        foreseen = cosine(
            direction(undiscounted[:, None] * by_visit), direction(visitation(mdp, policy)[:, None] * by_visit)
        )
        model = make_linear(mdp, logits, state_values(mdp, policy), n_envs=16, reward_scale=1.0)
        (row,) = logged(model, 16 * 5 * 500, tmp_path / str(gamma), log_freq=500)
        assert row["gradient_cosine_visited"] > 0.99
        assert row["gradient_cosine"] == pytest.approx(foreseen, abs=0.03)
        assert foreseen == pytest.approx(1.0, abs=1e-9) if gamma == 1.0 else foreseen < 0.5


def test_batches_of_all_lengths_count_by_their_transitions(tmp_path: Path) -> None:
    """One environment, whose episodes' ends cut batches: state 0 is always alone in its batch, state 1 hardly ever."""
    transitions = np.zeros((3, 2, 3))
    transitions[[0, 2], :, 2] = 1.0
    transitions[1, :, 1:] = 0.8, 0.2
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    mdp = TabularMDP(transitions, rewards, np.array([0.5, 0.5, 0.0]), np.arange(3) == 2, gamma=1.0)
    logits = np.zeros((3, 2))
    values = state_values(mdp, softmax(logits, axis=1))
    model = make_linear(mdp, logits, values, n_steps=5, reward_scale=1.0)
    (row,) = logged(model, 10_000, tmp_path, log_freq=3_500)
    assert 3_500 <= model._n_updates < 7_000
    assert row["gradient_cosine_visited"] > 0.99
    assert row["gradient_cosine"] > 0.99


# Errors


def test_errors() -> None:
    callback = TabularDiagnosticsCallback()
    with pytest.raises(ValueError, match=r"log_freq must be an integer of at least 1, got 0"):
        TabularDiagnosticsCallback(log_freq=0)
    with pytest.raises(ValueError, match=r"has no attribute 'mdp': use a tabular environment such as"):
        TDA2C("MlpPolicy", "CartPole-v1", device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"model=A2C: TabularDiagnosticsCallback reads the gradients of TDA2C"):
        A2C("MlpPolicy", tabular_env(chain()), device="cpu").learn(10, callback)
    with pytest.raises(ValueError, match=r"gamma=0.9 of the model differs from gamma=0.99 of its environment's mdp"):
        make(chain(), gamma=0.9).learn(10, callback)
    normalized = VecNormalize(tabular_env(chain()), norm_obs=False)
    with pytest.raises(ValueError, match=r"VecNormalize scales the rewards.*use VecNormalize\(norm_reward=False\)"):
        TDA2C("MlpPolicy", normalized, gamma=0.99, device="cpu").learn(10, callback)
    envs = DummyVecEnv([lambda seed=seed: TabularEnv(garnet(seed=seed)) for seed in (0, 1)])
    with pytest.raises(ValueError, match=r"the environments' mdps differ in 'transitions'; give all of them the same"):
        TDA2C("MlpPolicy", envs, gamma=0.95, device="cpu").learn(10, callback)


def test_observations_that_do_not_tell_the_state() -> None:
    callback = TabularDiagnosticsCallback()
    wider = DummyVecEnv([lambda: gym.wrappers.FrameStackObservation(TabularEnv(chain(), "one_hot"), 2)])
    with pytest.raises(ValueError, match=r"expected the numbers of 5 states \(Discrete\), or their one-hot vectors"):
        TDA2C("MlpPolicy", wider, gamma=0.99, device="cpu").learn(10, callback)
    scaled = DummyVecEnv(
        [lambda: gym.wrappers.RescaleObservation(TabularEnv(chain(), "one_hot"), np.float32(0), np.float32(2))]
    )
    with pytest.raises(ValueError, match=r"expected the states' numbers or their one-hot vectors"):
        TDA2C("MlpPolicy", scaled, gamma=0.99, device="cpu").learn(10, callback)


# Learning


def test_it_finds_the_optimal_policy_of_the_chain() -> None:
    env = make_vec_env("sb3_a2c_td/Chain-v0", n_envs=8, seed=0, env_kwargs={"observation": "one_hot"})
    (mdp, *_) = env.get_attr("mdp")
    model = TDA2C("MlpPolicy", env, 1e-3, bootstrap_on_truncation=True, seed=0, device="cpu").learn(20_000)
    best = optimal_policy(mdp)
    reachable = visitation(mdp, best) > 0
    greedy, _ = model.predict(np.eye(mdp.n_states, dtype=np.float32), deterministic=True)
    np.testing.assert_array_equal(greedy[reachable], best.argmax(axis=1)[reachable])
    policy = action_probabilities(model.policy, np.eye(mdp.n_states, dtype=np.float32))
    assert objective(mdp, policy) > 0.9 * objective(mdp, best)


def test_the_critic_finds_the_values_of_the_random_walk(tmp_path: Path) -> None:
    """With step sizes that satisfy Robbins and Monro's conditions."""
    env = make_vec_env("sb3_a2c_td/RandomWalk-v0", n_envs=16, seed=0, env_kwargs={"observation": "one_hot"})
    critic_learning_rate = robbins_monro_schedule(10, 1_000, 1.0, 40_000)
    model = TDA2C(
        "MlpPolicy",
        env,
        gamma=1.0,
        reward_scale=1.0,
        critic_learning_rate=critic_learning_rate,
        seed=0,
        device="cpu",
    )
    rows = logged(model, 40_000, tmp_path, log_freq=20)
    assert rows[0]["value_rmse"] > 0.05 > rows[-1]["value_rmse"]
    np.testing.assert_allclose(model.policy.predict_values(th.eye(7))[1:6, 0].detach(), np.arange(1, 6) / 6, atol=0.05)
