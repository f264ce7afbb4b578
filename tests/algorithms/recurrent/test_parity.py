"""RecurrentTDA2C compared with sb3-contrib's RecurrentPPO, with TDA2C, and with exact values."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from sb3_a2c_td import TDA2C, RecurrentTDA2C
from sb3_a2c_td.envs import TMaze
from tests.algorithms.given_actions import GivenActionsAfterDraws
from tests.algorithms.recurrent.models import MAX_STEPS, SMALL, make_model
from tests.algorithms.tda2c.parity import Recorder

ADAM = {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"eps": 1e-5}}
RMSPROP = {"optimizer_class": th.optim.RMSprop, "optimizer_kwargs": {"eps": 1e-5, "alpha": 0.99}}


class RecurrentGivenActions(GivenActionsAfterDraws, RecurrentTDA2C):
    """RecurrentTDA2C that takes given actions."""


@pytest.mark.parametrize(
    ("env_id", "settings", "policy_kwargs"),
    [
        ("CartPole-v1", {}, ADAM),
        ("CartPole-v1", {"max_grad_norm": 0.5, "normalize_advantage": True}, ADAM | {"n_lstm_layers": 2}),
        ("CartPole-v1", {}, RMSPROP | {"enable_critic_lstm": False}),
        ("Pendulum-v1", {}, ADAM),
        ("Pendulum-v1", {"use_sde": True, "sde_sample_freq": 3}, ADAM),
    ],
    ids=["discrete", "clipped and normalized", "no critic LSTM, RMSprop", "continuous", "gSDE"],
)
def test_parameters_match_recurrent_ppo(
    env_id: str, settings: dict[str, Any], policy_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With lambda = 0 and one epoch of one minibatch, RecurrentPPO takes the same steps: no ratio is clipped."""
    # RecurrentPPO splits a batch at a random row, and cuts gradients there; row 0 splits nothing
    monkeypatch.setattr("numpy.random.randint", lambda _: 0)
    n_updates = 40

    def make_env() -> VecEnv:
        return make_vec_env(env_id, 4, seed=0, env_kwargs={"max_episode_steps": MAX_STEPS})

    common = {"learning_rate": 1e-3, "gamma": 0.95, "n_steps": 8, "seed": 3, "ent_coef": 0.01, "device": "cpu"}
    common |= {"max_grad_norm": 1e9, "normalize_advantage": False} | settings
    networks = SMALL | {"activation_fn": nn.Tanh, "ortho_init": True} | policy_kwargs
    ppo = RecurrentPPO(
        "MlpLstmPolicy",
        make_env(),
        gae_lambda=0.0,
        n_epochs=1,
        batch_size=32,
        vf_coef=1.0,
        policy_kwargs=networks | {"share_features_extractor": False},
        **common,
    )
    theirs = Recorder()
    ppo.learn(n_updates * 32, theirs)
    model = RecurrentGivenActions(
        "MlpLstmPolicy",
        make_env(),
        critic_learning_rate=1e-3,
        reward_scale=1.0,
        bootstrap_on_truncation=True,
        update_on_episode_end=False,
        policy_kwargs=networks,
        **common,
    )
    model.policy.load_state_dict(first_state(ppo, theirs))
    model.given = theirs.actions
    ours = Recorder()
    model.learn(n_updates * 32, ours)
    assert model._n_updates == ppo._n_updates == n_updates
    assert np.abs(theirs.parameters[-1] - theirs.parameters[0]).max() > 0.01
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=2e-5)


def first_state(ppo: RecurrentPPO, recorded: Recorder) -> dict[str, th.Tensor]:
    """Return the policy's parameters as they were recorded first."""
    state = ppo.policy.state_dict()
    flat, begin = recorded.parameters[0], 0
    first = {}
    for key in sorted(state):
        n = state[key].numel()
        first[key] = th.as_tensor(flat[begin : begin + n]).view(state[key].shape).clone()
        begin += n
    return first


class Memoryless(gym.Env):
    """Shows one of three states, drawn again at every step, and rewards its value: the past does not matter."""

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


@pytest.mark.slow
def test_values_of_a_memoryless_task_are_exact_like_those_of_tda2c() -> None:
    """V(s) = r(s) + gamma / (1 - gamma) mean(r)."""
    gamma = 0.5
    exact = Memoryless.pays + gamma / (1 - gamma) * Memoryless.pays.mean()
    arguments = {"gamma": gamma, "reward_scale": 1.0, "critic_learning_rate": 3e-3, "seed": 0, "device": "cpu"}
    model = make_model(make_vec_env(Memoryless, 4, seed=0), **arguments).learn(20_000)
    plain = TDA2C("MlpPolicy", make_vec_env(Memoryless, 4, seed=0), **arguments).learn(20_000)
    states = th.eye(3)
    with th.no_grad():
        feed_forward = plain.policy.predict_values(states).squeeze(1).numpy()
        # with the recurrent states of all environments
        packed = th.as_tensor(np.repeat(model._last_lstm_states, 3, axis=0))
        critic_states = model.policy.unpack_states(packed).vf
        recurrent = model.policy.predict_values(states.repeat(4, 1), critic_states, th.zeros(12))
    np.testing.assert_allclose(feed_forward, exact, atol=0.1)
    np.testing.assert_allclose(recurrent.reshape(4, 3), np.tile(exact, (4, 1)), atol=0.1)


@pytest.mark.slow
def test_learns_a_short_t_maze() -> None:
    """The turn to take is shown at the beginning only."""
    settings: dict[str, Any] = {"learning_rate": "lin_4e-3", "critic_learning_rate": "lin_4e-3", "n_steps": 8}
    policy_kwargs = {"lstm_hidden_size": 16, "net_arch": []}
    env = make_vec_env(lambda: gym.wrappers.TimeLimit(TMaze(3), 30), 4, seed=0)
    model = make_model(env, reward_scale=1.0, policy_kwargs=policy_kwargs, **settings).learn(20_000)
    assert evaluate_policy(model, env, n_eval_episodes=30)[0] > 0.9
