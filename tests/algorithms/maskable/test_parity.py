"""MaskableTDA2C compared with TDA2C and with sb3-contrib's MaskablePPO."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import MaskablePPO
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_a2c_td import TDA2C, MaskableTDA2C
from sb3_a2c_td.vec_env.action_masks import components
from tests.algorithms.given_actions import GivenActionsAfterDraws
from tests.algorithms.maskable.models import ACTION_SPACES, SPACES_AND_ENGINES, VECTOR, make_masked_env, make_model
from tests.algorithms.tda2c.parity import Recorder
from tests.environments import RandomEnv

TANH = {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True}


@pytest.mark.parametrize(("space", "engine"), [case for case in SPACES_AND_ENGINES if case[0] != "multi_binary"])
def test_masks_that_allow_all_actions_give_tda2c(space: str, engine: str) -> None:
    """Bit for bit in closed form."""
    action_space = ACTION_SPACES[space]
    n_choices = sum(components(action_space))

    def make_env() -> gym.Env:
        return ActionMasker(RandomEnv(VECTOR, action_space), lambda _: np.ones(n_choices, bool))

    kwargs = {"ent_coef": 0.01, "normalize_advantage": True, "max_grad_norm": 0.5, "engine": engine}
    masked_recorder, recorder = Recorder(), Recorder()
    masked = make_model(make_vec_env(make_env, 3, seed=0), **kwargs).learn(900, masked_recorder)
    unmasked = TDA2C("MlpPolicy", make_vec_env(make_env, 3, seed=0), seed=0, device="cpu", **kwargs)
    unmasked.learn(900, recorder)
    assert masked._n_updates == unmasked._n_updates == 60
    np.testing.assert_array_equal(masked_recorder.actions, recorder.actions)
    # sb3-contrib, whose distributions autograd uses, normalizes the logits twice
    atol = 1e-5 if engine == "autograd" else 0.0
    np.testing.assert_allclose(masked_recorder.parameters, recorder.parameters, rtol=0, atol=atol)


class MaskableGivenActions(GivenActionsAfterDraws, MaskableTDA2C):
    """MaskableTDA2C that takes given actions."""


@pytest.mark.parametrize(("space", "engine"), SPACES_AND_ENGINES)
def test_parameters_match_maskable_ppo(space: str, engine: str) -> None:
    """With lambda = 0 and one epoch of one minibatch, MaskablePPO takes the same steps: no ratio is clipped."""
    n_updates, n_envs = 60, 4
    common: dict[str, Any] = {"learning_rate": 1e-3, "gamma": 0.95, "n_steps": 5, "seed": 3, "ent_coef": 0.01}
    ppo = MaskablePPO(
        "MlpPolicy",
        make_masked_env(ACTION_SPACES[space], n_envs),
        gae_lambda=0.0,
        n_epochs=1,
        batch_size=20,
        vf_coef=1.0,
        max_grad_norm=1e9,
        normalize_advantage=False,
        device="cpu",
        policy_kwargs=TANH | {"share_features_extractor": False},
        **common,
    )
    theirs = Recorder()
    ppo.learn(n_updates * 20, theirs)
    model = MaskableGivenActions(
        "MlpPolicy",
        make_masked_env(ACTION_SPACES[space], n_envs),
        critic_learning_rate=1e-3,
        reward_scale=1.0,
        bootstrap_on_truncation=True,
        engine=engine,
        device="cpu",
        policy_kwargs=TANH | {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"eps": 1e-5}},
        **common,
    )
    model.given = theirs.actions
    ours = Recorder()
    model.learn(n_updates * 20, ours)
    assert model._n_updates == ppo._n_updates == n_updates
    assert np.abs(theirs.parameters[-1] - theirs.parameters[0]).max() > 0.02
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_env",
    [
        lambda: InvalidActionEnvDiscrete(dim=20, n_invalid_actions=10),
        lambda: InvalidActionEnvMultiDiscrete(dims=[5, 5], n_invalid_actions=4),
        lambda: InvalidActionEnvMultiBinary(dims=4, n_invalid_actions=2),
    ],
    ids=["discrete", "multi_discrete", "multi_binary"],
)
def test_learns_the_action_that_is_rewarded(make_env: Callable[[], gym.Env]) -> None:
    env = make_vec_env(make_env, 8, seed=0)
    rates = {"learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    model = make_model(env, gamma=0.0, reward_scale=1.0, normalize_advantage=True, policy_kwargs=TANH, **rates)
    assert evaluate_policy(model.learn(6_000), env, n_eval_episodes=8, warn=False)[0] > 97
