"""TDA2C's settings, for RL Zoo and for Python: tuned ones, one for every other environment, and one for Atari.

The tuned settings maximize the area under the learning curve within the benchmark's number of steps, ``"default"`` the
mean of such areas on 13 environments: see the studies in ``benchmarks/results/studies``. ``"atari"`` follows RL Zoo's
A2C and was not tuned.
"""

from collections.abc import Callable
from copy import deepcopy
from pkgutil import resolve_name
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from sb3_a2c_td import registration
from sb3_a2c_td.algorithms.trained_on import OF_COPIES
from sb3_a2c_td.vec_env.autoreset_modes import has_autoreset_steps
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv
from sb3_a2c_td.vec_env.normalization import normalizable_keys

_FIXED_LENGTH_ROLLOUTS = {"bootstrap_on_truncation": True, "update_on_episode_end": False}
"""as in all studies"""

hyperparams: dict[str, dict[str, Any]] = {
    "default": {
        "n_timesteps": 100_000,
        "policy": "MlpPolicy",
        "n_envs": 1,
        "normalize": {"norm_reward": True},
        "learning_rate": "lin_0.000635",
        "critic_learning_rate": "lin_0.00175",
        "gamma": 0.99,
        "n_steps": 2,
        "reward_scale": 1.0,
        "ent_coef": 1.16e-05,
        **_FIXED_LENGTH_ROLLOUTS,
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [64, 64], "ortho_init": True, "log_std_init": -1.0},
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

FOR_CONTINUOUS_ACTIONS: dict[str, Any] = {"learning_rate": "lin_7.75e-05"}
"""what the general setting replaces in ``"default"`` for continuous actions"""
_DEFAULTS = ("default", "atari")
"""entries that are not for a particular environment"""
_TUNED = [name for name in hyperparams if name not in _DEFAULTS]
NOT_ARGUMENTS = ("n_timesteps", "n_envs", "normalize", "env_wrapper", "frame_stack")
"""RL Zoo's settings that are not arguments of TDA2C"""
Env = gym.Env[Any, Any] | VecEnv | VectorEnv[Any, Any, Any]
"""what TDA2C takes as an environment, but for a name"""


def recommended(env: str | Env = "default") -> dict[str, Any]:
    """Return settings for ``TDA2C(env=env, **recommended(env))``.

    For an environment in :data:`hyperparams` they are tuned, for ``hyperparams[env]["n_timesteps"]`` steps in what
    :func:`recommended_env` makes; with its name, make the environments so, since some have a wrapper. For all others
    they are the general setting, which a study chose. The policy then fits the observations, which are normalized if
    they are vectors, and the actor's learning rate the actions. Rewards are not normalized in vector environments with
    autoreset steps.

    :param env: the environment, or its name, which makes it once to see its spaces. Without it, the general setting for
        vectors and discrete actions; ``"atari"``: settings for Atari
    :return: arguments of TDA2C, including the policy
    :raises gymnasium.error.Error: if Gymnasium does not know the name
    """
    if isinstance(env, GymnasiumVecEnv):
        env = env.env
    name = env if isinstance(env, str) else _name(env)
    if name == "default":
        return _general(is_continuous=False)
    if not isinstance(env, str):
        return _for_env(env, name)
    if name in hyperparams:
        return arguments_of(hyperparams[name])
    registration.register_for(name)
    made = gym.make(name)
    made.close()
    return general_setting(made.observation_space, made.action_space)


def _for_env(env: Env, name: str) -> dict[str, Any]:
    """Return settings that fit an environment: those of its name, if they do, or else the general setting.

    :param env: the environment
    :param name: its name; may be one without settings
    """
    observation_space, action_space = _spaces(env)
    arguments = arguments_of(hyperparams[name]) if name in hyperparams else None
    # a policy that is a class is for images as the recommended wrapper makes them
    if arguments is not None and (isinstance(arguments["policy"], str) or _has_channels_first(observation_space)):
        arguments = _fitted(arguments, observation_space)
    else:
        arguments = general_setting(observation_space, action_space)
    base = env.unwrapped if isinstance(env, VecEnv) else env
    native = base.env if isinstance(base, GymnasiumVecEnv) else base
    if isinstance(native, VectorEnv) and has_autoreset_steps(native):
        arguments.pop("normalize_rewards", None)
    return arguments


def _has_channels_first(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3 and is_image_space_channels_first(space)


def general_setting(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> dict[str, Any]:
    """Return the general setting, for environments with and without tuned settings.

    :param observation_space: the environment's space, which the policy fits
    :param action_space: its space of actions: the actor's learning rate is smaller for continuous ones
    :return: arguments of TDA2C, including the policy
    """
    return _fitted(_general(isinstance(action_space, spaces.Box)), observation_space)


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
    if env_id not in hyperparams:
        raise ValueError(
            f"env_id={env_id!r}: there are tuned settings only for {', '.join(_TUNED)}. For others, make environments "
            "with SB3's make_vec_env and take the general setting, recommended(), or search for settings with "
            "python -m sb3_a2c_td.zoo train --optimize"
        )
    registration.register_for(env_id)
    return make_vec_env(env_id, hyperparams[env_id]["n_envs"], seed, wrapper_class=recommended_wrapper(env_id))


def recommended_wrapper(env_id: str) -> Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None:
    """Return the wrapper of the environment that the settings were tuned in.

    :param env_id: an environment in :data:`hyperparams`
    :return: the wrapper; ``None`` if there is none
    """
    name = hyperparams[env_id].get("env_wrapper")
    return None if name is None else resolve_name(name)


def policy_for(observation_space: spaces.Space[Any]) -> str:
    """Return the name of SB3's policy for an observation space.

    :param observation_space: the observation space
    :return: ``"MlpPolicy"``, ``"CnnPolicy"`` or ``"MultiInputPolicy"``
    """
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"


def _general(is_continuous: bool) -> dict[str, Any]:
    arguments = arguments_of(hyperparams["default"])
    if is_continuous:
        return arguments | FOR_CONTINUOUS_ACTIONS
    # policies with action masks do not take it
    del arguments["policy_kwargs"]["log_std_init"]
    return arguments


def arguments_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Convert settings from RL Zoo's format to arguments of TDA2C.

    :param settings: an entry of :data:`hyperparams`
    """
    arguments = {name: value for name, value in deepcopy(settings).items() if name not in NOT_ARGUMENTS}
    if "." in settings["policy"]:
        arguments["policy"] = resolve_name(settings["policy"])
    if "normalize" in settings:
        # RL Zoo puts the environments into VecNormalize, with the same discount factor
        arguments["normalize_observations"] = True
        arguments["normalize_rewards"] = settings["normalize"]["norm_reward"]
    return arguments


def _spaces(env: Env) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Return the spaces of one environment's observations and actions."""
    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def _name(env: Env) -> str:
    """Return the name of an environment; an empty one if it has none, or was made with other arguments."""
    if isinstance(env, VecEnv) and not env.has_attr("spec"):
        # compiled environments
        return ""
    spec = env.get_attr("spec")[0] if isinstance(env, VecEnv) else env.spec
    if spec is None:
        return ""
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in (*OF_COPIES, "max_episode_steps")}
    limit = spec.kwargs.get("max_episode_steps", spec.max_episode_steps)
    registered = gym.registry.get(spec.id)
    return spec.id if registered and (kwargs, limit) == (registered.kwargs, registered.max_episode_steps) else ""


def _fitted(arguments: dict[str, Any], observation_space: spaces.Space[Any]) -> dict[str, Any]:
    """Choose the policy for the observations, and normalize only what can be normalized."""
    if arguments["policy"] == "MlpPolicy":
        arguments["policy"] = policy_for(observation_space)
    if not normalizable_keys(observation_space):
        arguments.pop("normalize_observations", None)
    return arguments
