"""Train on 1,024 native environments at once, and evaluate on a single one."""

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C

model = TDA2C(
    "MlpPolicy",
    gym.make_vec("CartPole-v1", 1024),  # CartPoleVectorEnv steps all copies in numpy
    n_steps=2,  # per environment: a batch has 2,048 transitions
    learning_rate=3e-3,
    critic_learning_rate=1e-2,
    bootstrap_on_truncation=True,
    seed=0,
)
model.learn(1_500_000, log_interval=1_000)
mean, std = evaluate_policy(model, make_vec_env("CartPole-v1", seed=1), n_eval_episodes=10)
print(f"Mean return of 10 episodes: {mean:.1f} ± {std:.1f}")
