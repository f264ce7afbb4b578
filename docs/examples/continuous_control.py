"""Continuous actions: train TDA2C on four Pendulums at once."""

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_a2c_td import TDA2C

model = TDA2C(
    "MlpPolicy",
    make_vec_env("Pendulum-v1", n_envs=4, seed=0),
    n_steps=2,
    gamma=0.9,
    learning_rate=5e-4,
    critic_learning_rate=3e-3,
    reward_scale=0.01,  # a step costs up to 16: keeps the critic's values near 1
    bootstrap_on_truncation=True,  # 200 steps are a time limit, not a termination
    normalize_advantage=True,
    max_grad_norm=0.5,
    policy_kwargs={"net_arch": [32, 32], "ortho_init": True},
    seed=0,
)
model.learn(60_000)
mean, std = evaluate_policy(model, make_vec_env("Pendulum-v1", seed=1), n_eval_episodes=10)
# random actions reach about -1,200
print(f"Mean return of 10 episodes: {mean:.1f} ± {std:.1f}")
