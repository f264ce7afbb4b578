"""TDA2C's results on tabular environments, compared with the exact solutions."""

from pathlib import Path

import numpy as np
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C
from sb3_a2c_td.schedules import robbins_monro_schedule
from sb3_a2c_td.tabular.diagnostics import action_probabilities
from sb3_a2c_td.tabular.exact import objective, optimal_policy, visitation
from tests.tabular.models import logged


def test_tda2c_finds_the_optimal_policy_of_the_chain() -> None:
    env = make_vec_env("sb3_a2c_td/Chain-v0", n_envs=8, seed=0, env_kwargs={"observation": "one_hot"})
    (mdp, *_) = env.get_attr("mdp")
    model = TDA2C("MlpPolicy", env, 1e-3, bootstrap_on_truncation=True, seed=0, device="cpu").learn(20_000)
    best = optimal_policy(mdp)
    reachable = visitation(mdp, best) > 0
    greedy, _ = model.predict(np.eye(mdp.n_states, dtype=np.float32), deterministic=True)
    np.testing.assert_array_equal(greedy[reachable], best.argmax(axis=1)[reachable])
    policy = action_probabilities(model.policy, np.eye(mdp.n_states, dtype=np.float32))
    assert objective(mdp, policy) > 0.9 * objective(mdp, best)


def test_critic_finds_the_values_of_the_random_walk(tmp_path: Path) -> None:
    """With step sizes that satisfy the Robbins–Monro conditions."""
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
