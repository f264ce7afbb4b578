"""RecurrentTDA2C's settings for RL Zoo: for the two partially observed tasks, and default settings.

They were found by hand, on other seeds than the benchmark's.
"""

from typing import Any

from torch import nn

hyperparams: dict[str, dict[str, Any]] = {
    "default": {
        "n_timesteps": 1_000_000,
        "policy": "MlpLstmPolicy",
        "n_envs": 4,
        "normalize": {"norm_reward": True},
        "learning_rate": "lin_5e-4",
        "critic_learning_rate": "lin_2e-3",
        "gamma": 0.99,
        "n_steps": 4,
        "reward_scale": 1.0,
        "ent_coef": 0.001,
        "max_grad_norm": 0.5,
        "normalize_advantage": True,
        "bootstrap_on_truncation": True,
        "update_on_episode_end": False,
        "policy_kwargs": {"lstm_hidden_size": 64, "net_arch": [64], "activation_fn": nn.Tanh},
    },
}
hyperparams["sb3_a2c_td/CartPoleWithoutVelocities-v0"] = {**hyperparams["default"], "n_timesteps": 150_000}
hyperparams["sb3_a2c_td/TMaze-v0"] = {
    "n_timesteps": 100_000,
    "policy": "MlpLstmPolicy",
    "n_envs": 4,
    "learning_rate": "lin_2e-3",
    "critic_learning_rate": "lin_4e-3",
    "gamma": 0.98,
    # a rollout is longer than the corridor, so the gradient reaches the sign
    "n_steps": 12,
    "reward_scale": 1.0,
    "ent_coef": 0.01,
    "normalize_advantage": True,
    "bootstrap_on_truncation": True,
    "update_on_episode_end": False,
    "policy_kwargs": {"lstm_hidden_size": 32, "net_arch": [], "activation_fn": nn.Tanh},
}
