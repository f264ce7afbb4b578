"""RL Zoo's tuned settings for A2C and PPO, from rl_zoo3 2.9, without the number of steps."""

from benchmarks.learning.settings import Settings

_SDE = {"log_std_init": -2, "ortho_init": False}

A2C_ZOO = {
    "CartPole-v1": Settings("A2C", n_envs=8, arguments={"ent_coef": 0.0}),
    "Acrobot-v1": Settings("A2C", n_envs=16, normalize={}, arguments={"ent_coef": 0.0}),
    "MountainCar-v0": Settings("A2C", n_envs=16, normalize={}, arguments={"ent_coef": 0.0}),
    "LunarLander-v3": Settings(
        "A2C",
        n_envs=8,
        arguments={"gamma": 0.995, "n_steps": 5, "learning_rate": "lin_0.00083", "ent_coef": 0.00001},
    ),
    "Pendulum-v1": Settings(
        "A2C",
        n_envs=8,
        normalize={},
        arguments={
            "ent_coef": 0.0,
            "max_grad_norm": 0.5,
            "n_steps": 8,
            "gae_lambda": 0.9,
            "vf_coef": 0.4,
            "gamma": 0.9,
            "use_rms_prop": True,
            "normalize_advantage": False,
            "learning_rate": "lin_7e-4",
            "use_sde": True,
            "policy_kwargs": _SDE,
        },
    ),
    # RL Zoo's settings for Atari
    "MinAtar/Breakout-v1": Settings(
        "A2C",
        n_envs=16,
        arguments={
            "ent_coef": 0.01,
            "vf_coef": 0.25,
            "policy_kwargs": {"optimizer_class": "RMSpropTFLike", "optimizer_kwargs": {"eps": 1e-5}},
        },
    ),
    # RL Zoo's settings for Hopper-v4
    "Hopper-v5": Settings("A2C", normalize={}),
}

PPO_ZOO = {
    "CartPole-v1": Settings(
        "PPO",
        n_envs=8,
        arguments={
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": "lin_0.001",
            "clip_range": "lin_0.2",
        },
    ),
    "Acrobot-v1": Settings(
        "PPO",
        n_envs=16,
        normalize={},
        arguments={"n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
    ),
    "MountainCar-v0": Settings(
        "PPO",
        n_envs=16,
        normalize={},
        arguments={"n_steps": 16, "gae_lambda": 0.98, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
    ),
    "LunarLander-v3": Settings(
        "PPO",
        n_envs=16,
        arguments={
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    ),
    "Pendulum-v1": Settings(
        "PPO",
        n_envs=4,
        arguments={
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "ent_coef": 0.0,
            "learning_rate": 1e-3,
            "clip_range": 0.2,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    ),
    # RL Zoo's settings for Atari
    "MinAtar/Breakout-v1": Settings(
        "PPO",
        n_envs=8,
        arguments={
            "n_steps": 128,
            "n_epochs": 4,
            "batch_size": 256,
            "learning_rate": "lin_2.5e-4",
            "clip_range": "lin_0.1",
            "vf_coef": 0.5,
            "ent_coef": 0.01,
        },
    ),
    # RL Zoo's settings for Hopper-v4
    "Hopper-v5": Settings(
        "PPO",
        normalize={},
        arguments={
            "batch_size": 32,
            "n_steps": 512,
            "gamma": 0.999,
            "learning_rate": 9.80828e-05,
            "ent_coef": 0.00229519,
            "clip_range": 0.2,
            "n_epochs": 5,
            "gae_lambda": 0.99,
            "max_grad_norm": 0.7,
            "vf_coef": 0.835671,
            "policy_kwargs": {
                **_SDE,
                "activation_fn": "ReLU",
                "net_arch": {"pi": [256, 256], "vf": [256, 256]},
            },
        },
    ),
}
