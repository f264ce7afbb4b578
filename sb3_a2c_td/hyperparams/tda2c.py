"""TDA2C's settings, for RL Zoo and for Python: tuned ones for each environment of the benchmark, and two defaults.

The tuned settings maximize the area under the learning curve within the benchmark's number of steps, see the studies
in ``benchmarks/results/studies``. ``"default"`` has what most of these share, with the reference's learning rates,
discount factor and rollout length. ``"atari"`` follows RL Zoo's A2C. These two were not tuned.
"""

from copy import deepcopy
from pkgutil import resolve_name
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from sb3_a2c_td.envs import registration

_FIXED_LENGTH_ROLLOUTS = {"bootstrap_on_truncation": True, "update_on_episode_end": False}
"""as in all studies"""

hyperparams: dict[str, dict[str, Any]] = {
    "default": {
        "n_timesteps": 1_000_000,
        "policy": "MlpPolicy",
        "n_envs": 4,
        "normalize": {"norm_reward": False},
        "learning_rate": 5e-4,
        "critic_learning_rate": 1e-3,
        "gamma": 0.99,
        "n_steps": 5,
        "reward_scale": 0.1,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True},
    },
    "atari": {
        "n_timesteps": 10_000_000,
        "policy": "CnnPolicy",
        "env_wrapper": "stable_baselines3.common.atari_wrappers.AtariWrapper",
        "frame_stack": 4,
        "n_envs": 16,
        "learning_rate": 5e-4,
        "critic_learning_rate": 1e-3,
        "reward_scale": 1.0,
        "ent_coef": 0.01,
        "max_grad_norm": 0.5,
        **_FIXED_LENGTH_ROLLOUTS,
    },
    "CartPole-v1": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 1,
        "normalize": {"norm_reward": True},
        "learning_rate": "lin_0.000119",
        "critic_learning_rate": "lin_0.000352",
        "gamma": 0.995,
        "n_steps": 2,
        "reward_scale": 1.0,
        "ent_coef": 2.07e-05,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [128, 128], "ortho_init": True},
    },
    "Acrobot-v1": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 1,
        "learning_rate": 0.000322,
        "critic_learning_rate": 0.000307,
        "gamma": 0.999,
        "n_steps": 1,
        "reward_scale": 0.1,
        "ent_coef": 1.09e-06,
        "normalize_advantage": True,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True},
    },
    "MountainCar-v0": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 8,
        "normalize": {"norm_reward": False},
        "learning_rate": 0.00235,
        "critic_learning_rate": 0.00567,
        "gamma": 0.95,
        "n_steps": 5,
        "reward_scale": 0.1,
        "ent_coef": 0.000157,
        "max_grad_norm": 0.5,
        "normalize_advantage": True,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [32, 32], "ortho_init": True},
    },
    "LunarLander-v3": {
        "n_timesteps": 200_000,
        "policy": "MlpPolicy",
        "n_envs": 4,
        "normalize": {"norm_reward": False},
        "learning_rate": 0.000412,
        "critic_learning_rate": 0.00134,
        "gamma": 0.98,
        "n_steps": 8,
        "reward_scale": 0.1,
        "ent_coef": 0.000638,
        "max_grad_norm": 0.5,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [128, 128], "ortho_init": True},
    },
    "FrozenLake-v1": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "env_wrapper": "gymnasium.wrappers.FlattenObservation",
        "n_envs": 4,
        "normalize": {"norm_reward": True},
        "learning_rate": 0.000595,
        "critic_learning_rate": 0.000372,
        "gamma": 0.995,
        "n_steps": 2,
        "reward_scale": 0.1,
        "ent_coef": 0.000214,
        "normalize_advantage": True,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True},
    },
    "Pendulum-v1": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 4,
        "learning_rate": 0.00101,
        "critic_learning_rate": 0.00334,
        "gamma": 0.9,
        "n_steps": 2,
        "reward_scale": 0.01,
        "ent_coef": 0.0374,
        "normalize_advantage": True,
        "use_sde": True,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.ReLU, "net_arch": [32, 32], "ortho_init": True, "log_std_init": 0.0},
    },
    "Hopper-v5": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 4,
        "normalize": {"norm_reward": False},
        "learning_rate": "lin_0.000771",
        "critic_learning_rate": "lin_0.00125",
        "gamma": 0.98,
        "n_steps": 2,
        "reward_scale": 1.0,
        "ent_coef": 0.006,
        "normalize_advantage": True,
        "use_sde": True,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.ReLU, "net_arch": [128, 128], "log_std_init": -2.0},
    },
    "MinAtar/Breakout-v1": {
        "n_timesteps": 100_000,
        "policy": "sb3_a2c_td.policies.minatar.MinAtarPolicy",
        "env_wrapper": "sb3_a2c_td.envs.minatar.channels_first",
        "n_envs": 1,
        "normalize": {"norm_reward": True},
        "learning_rate": "lin_0.000116",
        "critic_learning_rate": "lin_8.81e-05",
        "gamma": 0.99,
        "n_steps": 2,
        "reward_scale": 0.1,
        "ent_coef": 0.000387,
        "max_grad_norm": 0.5,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.ReLU, "net_arch": [64, 64], "ortho_init": False},
    },
}
"""settings by environment in RL Zoo's format: ``--conf-file sb3_a2c_td.hyperparams.tda2c``"""

_DEFAULTS = ("default", "atari")
"""entries that are not for a particular environment"""
_NOT_ARGUMENTS = ("n_timesteps", "n_envs", "normalize", "env_wrapper", "frame_stack")
"""RL Zoo's settings that are not arguments of TDA2C"""


def recommended(env_id: str) -> dict[str, Any]:
    """Return tuned settings for ``TDA2C(env=..., **recommended(env_id))``.

    They were tuned in the environment that :func:`recommended_env` makes, for
    ``hyperparams[env_id]["n_timesteps"]`` steps.

    :param env_id: an environment in :data:`hyperparams`, or ``"default"`` or ``"atari"`` for untuned settings
    :return: arguments of TDA2C, including the policy
    :raises ValueError: for any other environment; the message lists the known ones
    """
    settings = _settings(env_id)
    if "." in settings["policy"]:
        settings["policy"] = resolve_name(settings["policy"])
    arguments = {name: value for name, value in settings.items() if name not in _NOT_ARGUMENTS}
    if "normalize" in settings:
        # RL Zoo puts the environments into VecNormalize, with the same discount factor
        arguments["normalize_observations"] = True
        arguments["normalize_rewards"] = settings["normalize"]["norm_reward"]
    return arguments


def recommended_env(env_id: str, seed: int | None = None) -> VecEnv:
    """Make the environments that the settings were tuned in, with their number and wrappers.

    The model normalizes what they return, by the arguments of :func:`recommended`.

    :param env_id: an environment in :data:`hyperparams`
    :param seed: seed of the first environment; the others get the following seeds
    :return: the environments, each with a ``Monitor``
    :raises ValueError: for any other environment; the message lists the known ones
    """
    if env_id in _DEFAULTS:
        raise ValueError(f"env_id={env_id!r} is not an environment: make one with SB3's make_vec_env or make_atari_env")
    settings = _settings(env_id)
    if env_id.startswith(registration.MINATAR_PREFIX):
        registration.register_minatar()
    wrapper = resolve_name(settings["env_wrapper"]) if "env_wrapper" in settings else None
    return make_vec_env(env_id, settings["n_envs"], seed, wrapper_class=wrapper)


def _settings(env_id: str) -> dict[str, Any]:
    if env_id not in hyperparams:
        raise ValueError(
            f"env_id={env_id!r}: there are settings only for {', '.join(hyperparams)}; start from 'default', or search "
            "for settings with python -m sb3_a2c_td.zoo train --optimize"
        )
    return deepcopy(hyperparams[env_id])
