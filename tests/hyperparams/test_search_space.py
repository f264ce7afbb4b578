"""What Optuna draws are settings that train, and are made again of a trial's parameters."""

import optuna
import pytest
from gymnasium import spaces
from sb3_contrib.common.envs import InvalidActionEnvDiscrete

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C, recommended, recommended_env
from sb3_a2c_td.hyperparams.search_space import convert_tda2c_params, sample_tda2c_params


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1"])
def test_what_is_drawn_trains(env_id: str) -> None:
    """As RL Zoo has it: drawn settings take the place of the shipped ones, of which only the policy stays."""
    env = recommended_env(env_id, seed=0)
    n_actions = env.action_space.shape[0] if isinstance(env.action_space, spaces.Box) else 0
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(5):
        trial = study.ask()
        drawn = sample_tda2c_params(trial, n_actions, env.num_envs, {})
        assert ("use_sde" in drawn) == (n_actions > 0)
        assert convert_tda2c_params(trial.params) == drawn
        model = TDA2C(recommended(env_id)["policy"], env, device="cpu", **drawn).learn(env.num_envs * 16)
        assert model.lr_schedule(1.0) == pytest.approx(trial.params["learning_rate"], rel=0.01)
        assert model.lr_schedule(0.5) == pytest.approx(model.lr_schedule(1.0) / (2 if trial.params["decays"] else 1))
        ratio = model.critic_lr_schedule(1.0) / model.lr_schedule(1.0)
        assert ratio == pytest.approx(trial.params["critic_rate_ratio"], rel=0.02)
        assert model.policy.net_arch == [trial.params["width"]] * 2


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_what_is_drawn_trains_a_memory(env_id: str) -> None:
    """RL Zoo draws RecurrentPPO's settings as PPO's, and we ours as TDA2C's."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    for _ in range(5):
        trial = study.ask()
        drawn = sample_tda2c_params(trial, int(env_id == "Pendulum-v1"), 1, {})
        model = RecurrentTDA2C("MlpLstmPolicy", env_id, device="cpu", **drawn).learn(32)
        assert model.policy.net_arch == [trial.params["width"]] * 2


def test_what_is_drawn_trains_with_masks() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(5):
        drawn = sample_tda2c_params(study.ask(), 0, 1, {})
        MaskableTDA2C("MlpPolicy", InvalidActionEnvDiscrete(dim=8), device="cpu", **drawn).learn(32)
