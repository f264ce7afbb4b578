"""RecurrentTDA2C through its public API."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecNormalize
from torch import nn

from sb3_a2c_td import TDA2C, RecurrentTDA2C
from sb3_a2c_td.engines.recurrent import RecurrentNetworks
from sb3_a2c_td.envs import TMaze
from sb3_a2c_td.policies.recurrent import MlpLstmPolicy
from sb3_a2c_td.rollout.transitions import RecurrentTransitions
from tests.algorithms.tda2c.parity import Recorder
from tests.environments import RandomEnv
from tests.saving.comparing import differences, everything

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTION_SPACES = {
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
}
OBSERVATION_SPACES = {
    "box": VECTOR,
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "dict": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}),
}
POLICIES = {"image": "CnnLstmPolicy", "dict": "MultiInputLstmPolicy"}
SMALL = {"lstm_hidden_size": 8, "net_arch": [8]}


def make(env: Any, policy: str = "MlpLstmPolicy", **kwargs: Any) -> RecurrentTDA2C:
    kwargs = {"seed": 0, "device": "cpu", "policy_kwargs": SMALL} | kwargs
    return RecurrentTDA2C(policy, env, **kwargs)


def cartpoles(n_envs: int = 3, **kwargs: Any) -> VecEnv:
    # episodes end by termination and by truncation
    return make_vec_env("CartPole-v1", n_envs, seed=0, env_kwargs={"max_episode_steps": 23}, **kwargs)


# The memory


class StepByStep:
    """Computes V(s), V(s') and log tau(a|s) of every transition as it happens, one environment at a time.

    It keeps a memory for each environment by itself. An episode begins behind the end of one, and where all
    environments were reset.
    """

    def __init__(self, model: RecurrentTDA2C) -> None:
        self.policy = model.policy
        self.memories: dict[int, Any] = {}
        self.n_rows = 0
        self.reset_at = -1

    def zeros(self) -> Any:
        n_layers, _, hidden_size = self.policy.lstm_hidden_state_shape
        return [tuple(th.zeros(n_layers, 1, hidden_size) for _ in range(2)) for _ in range(2)]

    @th.no_grad()
    def of(self, batch: RecurrentTransitions[th.Tensor]) -> np.ndarray:
        found = []
        starts = th.zeros(1)
        for i, env in enumerate(batch.env.tolist()):
            if self.n_rows == self.reset_at:
                self.memories.clear()
            self.n_rows += 1
            if env not in self.memories:
                self.memories[env] = self.zeros()
            actor, critic = self.memories[env]
            obs, next_obs = batch.observations[i : i + 1], batch.next_observations[i : i + 1]
            distribution, actor = self.policy.get_distribution(obs, actor, starts)
            log_prob = distribution.log_prob(batch.actions[i : i + 1])
            value = self.policy.predict_values(obs, critic, starts)
            _, critic = self.policy.lstm_critic(self.policy.vf_features_extractor(obs)[None], critic)
            next_value = self.policy.predict_values(next_obs, critic, starts)
            self.memories[env] = [actor, critic]
            if batch.terminated[i] or batch.truncated[i]:
                del self.memories[env]
            found.append([value.item(), next_value.item(), log_prob.item()])
        return np.array(found)


class Watched(RecurrentTDA2C):
    """Keeps what every update computes beside what the step-by-step reference does."""

    def train(self) -> None:
        batch = self.rollout_buffer.tensors(self.device)
        networks = RecurrentNetworks(self.policy)
        with th.no_grad():
            values, next_values = networks.values_and_next_values(batch, None)
            log_prob, _ = networks.log_prob_and_entropy(batch, False)
        self.found.append(th.stack([values, next_values, log_prob], dim=1).numpy())
        self.expected.append(self.reference.of(batch))
        self.n_ends += int((batch.terminated | batch.truncated).sum())
        # the weights stay as they are, so that the reference may remember what it computed with them
        self.rollout_buffer.reset()


def native() -> Any:
    return gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point", max_episode_steps=23)


@pytest.mark.parametrize("n_lstm_layers", [1, 2])
@pytest.mark.parametrize("make_env", [cartpoles, native])
@pytest.mark.parametrize(("n_steps", "update_on_episode_end"), [(1, False), (5, True), (20, False)])
def test_batches_are_what_the_steps_were(
    n_steps: int, update_on_episode_end: bool, make_env: Any, n_lstm_layers: int
) -> None:
    """Whatever ends within a batch; native environments have steps that are no transitions."""
    model = Watched(
        "MlpLstmPolicy",
        make_env(),
        n_steps=n_steps,
        update_on_episode_end=update_on_episode_end,
        policy_kwargs=SMALL | {"n_lstm_layers": n_lstm_layers, "ortho_init": True},
        seed=0,
        device="cpu",
    )
    model.found, model.expected, model.n_ends, model.reference = [], [], 0, StepByStep(model)
    model.learn(600)
    # which begins with a reset, behind what is left of an interval
    model.reference.reset_at = model.reference.n_rows + len(model.rollout_buffer)
    model.learn(300)
    assert model.n_ends > 20
    np.testing.assert_allclose(np.concatenate(model.found), np.concatenate(model.expected), rtol=0, atol=1e-5)


def test_an_episode_begins_without_a_memory() -> None:
    model = make(cartpoles(), n_steps=50, update_on_episode_end=False).learn(120)
    rows = model.rollout_buffer.transitions()
    begins = rows.episode_starts
    assert begins.sum() > 3
    assert not rows.lstm_states[begins].any()
    assert rows.lstm_states[~begins].any(axis=(1, 2)).all()


def test_gradients_reach_back_to_the_intervals_beginning() -> None:
    """The last value of a batch, by all of the batch's observations. What came before is numbers, without a graph."""
    model = make(cartpoles(1), n_steps=6, update_on_episode_end=False)
    model.learn(10)
    batch = model.rollout_buffer.tensors(model.device)
    assert len(batch.rewards) == 4
    assert not batch.episode_starts.any()
    batch.observations.requires_grad_(True)
    values, _ = RecurrentNetworks(model.policy).values_and_next_values(batch, None)
    values[-1].backward()
    assert batch.observations.grad.any(dim=1).all()


# What is learned


class SameActions(RecurrentTDA2C):
    """Takes given actions."""

    given: list[np.ndarray]

    def _act(self, observations: Any) -> np.ndarray:
        super()._act(observations)
        return self.given[self.num_timesteps // self.n_envs]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_the_parameters_are_those_of_recurrent_ppo(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With lambda = 0, and one epoch of one minibatch, in which no ratio is clipped, it takes the same steps."""
    # it cuts a batch at a random row, and gradients with it; at row 0 nothing is cut
    monkeypatch.setattr("numpy.random.randint", lambda _: 0)
    n_updates = 100

    def make_env() -> VecEnv:
        return make_vec_env(env_id, 4, seed=0, env_kwargs={"max_episode_steps": 23})

    common: dict[str, Any] = {"learning_rate": 1e-3, "gamma": 0.95, "n_steps": 8, "seed": 3, "ent_coef": 0.01}
    networks = SMALL | {"activation_fn": nn.Tanh, "ortho_init": True}
    ppo = RecurrentPPO(
        "MlpLstmPolicy",
        make_env(),
        gae_lambda=0.0,
        n_epochs=1,
        batch_size=32,
        vf_coef=1.0,
        max_grad_norm=1e9,
        normalize_advantage=False,
        device="cpu",
        policy_kwargs=networks | {"share_features_extractor": False},
        **common,
    )
    theirs = Recorder()
    ppo.learn(n_updates * 32, theirs)
    model = SameActions(
        "MlpLstmPolicy",
        make_env(),
        critic_learning_rate=1e-3,
        reward_scale=1.0,
        bootstrap_on_truncation=True,
        update_on_episode_end=False,
        device="cpu",
        policy_kwargs=networks | {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"eps": 1e-5}},
        **common,
    )
    model.policy.load_state_dict(first_state(ppo, theirs))
    model.given = theirs.actions
    ours = Recorder()
    model.learn(n_updates * 32, ours)
    assert model._n_updates == ppo._n_updates == n_updates
    assert np.abs(theirs.parameters[-1] - theirs.parameters[0]).max() > 0.02
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=2e-5)


def first_state(ppo: RecurrentPPO, recorded: Recorder) -> dict[str, th.Tensor]:
    """Give the parameters that were recorded first."""
    state = ppo.policy.state_dict()
    flat, begin = recorded.parameters[0], 0
    first = {}
    for key in sorted(state):
        n = state[key].numel()
        first[key] = th.as_tensor(flat[begin : begin + n]).view(state[key].shape).clone()
        begin += n
    return first


class Independent(gym.Env):
    """Shows one of three states, drawn anew at every step, and pays what it is worth: there is nothing to remember."""

    observation_space = spaces.Box(0, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)
    pays = np.array([1.0, -1.0, 0.5])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.state = self.np_random.integers(3)
        return np.eye(3, dtype=np.float32)[self.state], {}

    def step(self, action):
        reward = self.pays[self.state]
        self.state = self.np_random.integers(3)
        return np.eye(3, dtype=np.float32)[self.state], float(reward), False, False, {}


def test_without_anything_to_remember_the_values_are_those_of_a_feed_forward_critic() -> None:
    """And the exact ones: V(s) = r(s) + gamma / (1 - gamma) mean(r)."""
    gamma = 0.5
    exact = Independent.pays + gamma / (1 - gamma) * Independent.pays.mean()
    arguments = {"gamma": gamma, "reward_scale": 1.0, "critic_learning_rate": 3e-3, "seed": 0, "device": "cpu"}
    model = make(make_vec_env(Independent, 4, seed=0), **arguments).learn(20_000)
    plain = TDA2C("MlpPolicy", make_vec_env(Independent, 4, seed=0), **arguments).learn(20_000)
    states = th.eye(3)
    with th.no_grad():
        feed_forward = plain.policy.predict_values(states).squeeze(1).numpy()
        # with memories of all environments
        memory = th.as_tensor(np.repeat(model._memory, 3, axis=0))
        recurrent = model.policy.predict_values(states.repeat(4, 1), model.policy.to_states(memory).vf, th.zeros(12))
    np.testing.assert_allclose(feed_forward, exact, atol=0.1)
    np.testing.assert_allclose(recurrent.reshape(4, 3), np.tile(exact, (4, 1)), atol=0.1)


# What an SB3 user does with it


@pytest.mark.parametrize("observation_space", OBSERVATION_SPACES)
@pytest.mark.parametrize("space", ACTION_SPACES)
def test_every_pair_of_spaces(space: str, observation_space: str, tmp_path: Path) -> None:
    def make_env() -> VecEnv:
        return make_vec_env(lambda: RandomEnv(OBSERVATION_SPACES[observation_space], ACTION_SPACES[space]), 2, seed=0)

    model = make(make_env(), POLICIES.get(observation_space, "MlpLstmPolicy"), n_steps=4).learn(41)
    assert model.num_timesteps == 42
    model.save(tmp_path / "model")
    loaded = RecurrentTDA2C.load(tmp_path / "model", make_env(), device="cpu")
    assert loaded.learn(10, reset_num_timesteps=False).num_timesteps == 52
    observations = make_env().reset()
    actions, state = loaded.predict(observations, deterministic=True)
    assert actions.shape == (2, *ACTION_SPACES[space].shape)
    again, _ = loaded.predict(observations, state, np.ones(2, bool), deterministic=True)
    np.testing.assert_array_equal(actions, again)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"use_sde": True, "sde_sample_freq": 3},
        {"normalize_advantage": True, "ent_coef": 0.01, "max_grad_norm": 0.5},
        {"policy_kwargs": SMALL | {"enable_critic_lstm": False}},
        {"policy_kwargs": SMALL | {"n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.1}}},
        {"policy_kwargs": SMALL | {"optimizer_class": th.optim.RMSprop}},
    ],
    ids=["gSDE", "extras", "no critic LSTM", "dropout", "RMSprop"],
)
def test_options(kwargs: dict[str, Any]) -> None:
    model = make(make_vec_env("Pendulum-v1", 2, seed=0), n_steps=4, **kwargs)
    before = [param.clone() for param in model.policy.parameters()]
    model.learn(200)
    assert model._n_updates == 25
    assert all(not th.equal(*pair) for pair in zip(before, model.policy.parameters(), strict=True))


@pytest.mark.parametrize(
    "make_env",
    [
        cartpoles,
        lambda: cartpoles(1),
        lambda: VecNormalize(cartpoles(2)),
        native,
    ],
    ids=["several", "one", "VecNormalize", "native"],
)
def test_resuming_goes_on_to_the_bit(make_env: Any, tmp_path: Path) -> None:
    """In the middle of an interval and of episodes, whose memories are saved."""
    expected = everything(make(make_env(), n_steps=7).learn(603))
    make(make_env(), n_steps=7).learn(303).save(tmp_path / "model")
    model = RecurrentTDA2C.resume(tmp_path / "model", make(make_env(), seed=1).env, device="cpu")
    assert len(model.rollout_buffer) > 0
    found = everything(model.learn(603 - model.num_timesteps, reset_num_timesteps=False))
    assert differences(found, expected) == []


def test_the_same_seed_gives_the_same_to_the_bit() -> None:
    first, second = (everything(make(cartpoles()).learn(500)) for _ in range(2))
    assert differences(first, second) == []


def test_processes_give_the_same_as_one() -> None:
    env = cartpoles(2, vec_env_cls=SubprocVecEnv)
    model, other = make(cartpoles(2)).learn(200), make(env).learn(200)
    env.close()
    for ours, theirs in zip(model.policy.parameters(), other.policy.parameters(), strict=True):
        assert th.equal(ours, theirs)


def test_it_may_be_loaded_for_another_number_of_environments(tmp_path: Path) -> None:
    make(cartpoles(3)).learn(100).save(tmp_path / "model")
    model = RecurrentTDA2C.load(tmp_path / "model", cartpoles(2), device="cpu")
    assert model.learn(100).num_timesteps == 100


def test_callbacks_and_evaluation(tmp_path: Path) -> None:
    callback = EvalCallback(cartpoles(2), eval_freq=50, n_eval_episodes=3, verbose=0)
    model = make(cartpoles(2), tensorboard_log=str(tmp_path)).learn(300, callback)
    assert (tmp_path / "RecurrentTDA2C_1").is_dir()
    assert 8 < callback.last_mean_reward <= 23
    assert 8 < evaluate_policy(model, cartpoles(2), n_eval_episodes=3)[0] <= 23


def test_it_remembers_which_way_to_turn() -> None:
    """In a short maze."""
    settings: dict[str, Any] = {"learning_rate": "lin_4e-3", "critic_learning_rate": "lin_4e-3", "n_steps": 8}
    policy_kwargs = {"lstm_hidden_size": 16, "net_arch": []}
    env = make_vec_env(lambda: gym.wrappers.TimeLimit(TMaze(3), 30), 4, seed=0)
    model = make(env, reward_scale=1.0, policy_kwargs=policy_kwargs, **settings).learn(20_000)
    assert evaluate_policy(model, env, n_eval_episodes=30)[0] > 0.9


# Errors


def test_what_cannot_be_served_is_refused() -> None:
    with pytest.raises(ValueError, match="engine='numba' cannot serve this model: its policy has a memory"):
        make("CartPole-v1", engine="numba")
    with pytest.raises(ValueError, match="shared_lstm=True: the actor and the critic must not share"):
        make("CartPole-v1", policy_kwargs={"shared_lstm": True})
    with pytest.raises(ValueError, match=r"lstm_kwargs=.*only bias and dropout can be served, not \['proj_size'\]"):
        make("CartPole-v1", policy_kwargs={"lstm_kwargs": {"proj_size": 8}})
    with pytest.raises(ValueError, match="policy=MlpLstmPolicy is for another algorithm: TDA2C has MlpPolicy"):
        TDA2C(MlpLstmPolicy, "CartPole-v1")
    with pytest.raises(ValueError, match="MlpPolicy unknown"):
        make("CartPole-v1", "MlpPolicy")
    with pytest.raises(ValueError, match=r"class Mine\(SeparateRecurrentPolicy, RecurrentActorCriticPolicy\)"):
        make("CartPole-v1", RecurrentPPO.policy_aliases["MlpLstmPolicy"])  # type: ignore[arg-type]


def test_initial_weights_are_keras_but_where_sb3s_are_asked_for() -> None:
    policy = make("CartPole-v1", policy_kwargs=SMALL | {"n_lstm_layers": 2}).policy
    for lstm in (policy.lstm_actor, policy.lstm_critic):
        for layer in range(2):
            gates = [getattr(lstm, f"{name}_l{layer}").detach() for name in ("bias_ih", "bias_hh")]
            np.testing.assert_array_equal(sum(gates).reshape(4, 8), np.repeat([[0.0], [1.0], [0.0], [0.0]], 8, axis=1))
            recurrent = getattr(lstm, f"weight_hh_l{layer}").detach()
            np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(8), atol=1e-5)
    assert not make("CartPole-v1", policy_kwargs=SMALL | {"enable_critic_lstm": False}).policy.critic.bias.any()
    plain = make("CartPole-v1", policy_kwargs=SMALL | {"ortho_init": True}).policy
    assert plain.lstm_actor.bias_ih_l0.detach().unique().numel() > 20
