"""Sampled settings train, and can be recovered from a trial's parameters."""

import optuna
import pytest
from gymnasium import spaces
from sb3_contrib.common.envs import InvalidActionEnvDiscrete

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended, recommended_env
from sb3_a2c_td.hyperparams.search_space import convert_tda2c_params, sample_tda2c_params


def trials(n_trials: int, seed: int) -> list[optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [study.ask() for _ in range(n_trials)]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1"])
def test_tda2c_trains_with_sampled_settings(env_id: str) -> None:
    """As in RL Zoo, sampled settings replace the shipped ones except for the policy."""
    env = recommended_env(env_id, seed=0)
    n_actions = env.action_space.shape[0] if isinstance(env.action_space, spaces.Box) else 0
    for trial in trials(3, seed=1):
        sampled = sample_tda2c_params(trial, n_actions, env.num_envs, {})
        assert ("use_sde" in sampled) == (n_actions > 0)
        assert convert_tda2c_params(trial.params) == sampled
        model = TDA2C(recommended(env_id)["policy"], env, device="cpu", **sampled).learn(env.num_envs * 16)
        assert model.lr_schedule(1.0) == pytest.approx(trial.params["learning_rate"], rel=0.01)
        assert model.lr_schedule(0.5) == pytest.approx(model.lr_schedule(1.0) / (2 if trial.params["decays"] else 1))
        ratio = model.critic_lr_schedule(1.0) / model.lr_schedule(1.0)
        assert ratio == pytest.approx(trial.params["critic_rate_ratio"], rel=0.02)
        assert model.policy.net_arch == [trial.params["width"]] * 2


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_recurrent_tda2c_trains_with_sampled_settings(env_id: str) -> None:
    """As RL Zoo samples RecurrentPPO's settings like PPO's."""
    for trial in trials(2, seed=2):
        sampled = sample_tda2c_params(trial, int(env_id == "Pendulum-v1"), 1, {})
        model = RecurrentTDA2C("MlpLstmPolicy", env_id, device="cpu", **sampled).learn(32)
        assert model.policy.net_arch == [trial.params["width"]] * 2


def test_maskable_tda2c_trains_with_sampled_settings() -> None:
    for trial in trials(2, seed=3):
        sampled = sample_tda2c_params(trial, 0, 1, {})
        model = MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=8), device="cpu", **sampled).learn(32)
        assert model.policy.net_arch == [trial.params["width"]] * 2
