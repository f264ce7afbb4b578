"""Train TDA2C on Acrobot with tuned settings, and evaluate it."""

import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C

model = TDA2C(
    "MlpPolicy",
    make_vec_env("Acrobot-v1", seed=0),
    n_steps=1,
    gamma=0.999,
    learning_rate=3.22e-4,
    critic_learning_rate=3.07e-4,
    reward_scale=0.1,
    bootstrap_on_truncation=True,
    policy_kwargs={"activation_fn": torch.nn.Tanh, "net_arch": [64, 64], "ortho_init": True},
    seed=0,
)
model.learn(10_000)
mean, std = evaluate_policy(model, make_vec_env("Acrobot-v1", seed=1), n_eval_episodes=10)
# an episode that never swings up has a return of -500
print(f"Mean return of 10 episodes: {mean:.1f} ± {std:.1f}")
model.save("acrobot")
