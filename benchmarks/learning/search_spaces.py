"""Search spaces of the studies: each samples settings for an environment, or for many."""

from typing import Any, Protocol

import optuna

from benchmarks.learning.environments import Environment
from benchmarks.learning.settings import NO_CLIPPING, Settings
from sb3_a2c_td.hyperparams.search_space import rate_setting, rounded, sample_tda2c_params

TUNED_GUESS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "critic_rate_ratio": 1.0,
    "decays": False,
    "activation_fn": "Tanh",
    "width": 64,
    "ortho_init": True,
    "gamma": 0.98,
    "n_steps": 5,
    "reward_scale": 1.0,
    "ent_coef": 1e-6,
    "max_grad_norm": None,
    "normalize_advantage": False,
    "normalizes": None,
}
"""parameters of the first trial of :func:`tuned`; Optuna samples those that are missing"""
A2C_GUESS: dict[str, Any] = {
    "learning_rate": 7e-4,
    "decays": False,
    "activation_fn": "Tanh",
    "width": 64,
    "ortho_init": True,
    "gamma": 0.99,
    "n_steps": 5,
    "gae_lambda": 1.0,
    "vf_coef": 0.5,
    "use_rms_prop": True,
    "ent_coef": 1e-6,
    "max_grad_norm": 0.5,
    "normalize_advantage": False,
    "normalizes": None,
}
"""A2C's defaults, but for an entropy coefficient of 0, which a logarithmic scale does not have"""
_GENERAL_GUESS: dict[str, Any] = {
    "learning_rate": 5e-4,
    "critic_rate_ratio": 2.0,
    "decays": False,
    "activation_fn": "Tanh",
    "gamma": 0.99,
    "n_steps": 4,
    "ent_coef": 1e-4,
    "max_grad_norm": None,
    "normalize_advantage": False,
    "normalizes": "both",
    "continuous_rate_ratio": 0.2,
    "log_std_init": 0.0,
}
GENERAL_GUESSES: tuple[dict[str, Any], ...] = (
    _GENERAL_GUESS,
    _GENERAL_GUESS | {"critic_rate_ratio": 4.0, "n_steps": 8, "log_std_init": -0.5},
    _GENERAL_GUESS | {"decays": True},
    _GENERAL_GUESS | {"continuous_rate_ratio": 0.5, "activation_fn": "ReLU", "log_std_init": -1.0},
    _GENERAL_GUESS | {"n_steps": 2, "normalize_advantage": True, "log_std_init": -0.5},
)
"""parameters of the first trials of :func:`general`, chosen by hand on other seeds"""


class TunedSpace(Protocol):
    """Samples settings of an algorithm for one environment."""

    def __call__(self, trial: optuna.trial.BaseTrial, environment: Environment, n_envs: tuple[int, ...]) -> Settings:
        """Sample settings."""


def tuned(trial: optuna.trial.BaseTrial, environment: Environment, n_envs: tuple[int, ...]) -> Settings:
    """Sample TDA2C's settings for one environment: its arguments, the number of environments, and VecNormalize.

    :param trial: the trial
    :param environment: the environment
    :param n_envs: numbers of parallel environments to choose from
    """
    arguments = sample_tda2c_params(trial, int(environment.is_continuous), max(n_envs), {})
    # a name instead of the class, for JSON
    arguments["policy_kwargs"]["activation_fn"] = trial.params["activation_fn"]
    return Settings("TDA2C", *_environments(trial, n_envs), arguments)


def tuned_a2c(trial: optuna.trial.BaseTrial, environment: Environment, n_envs: tuple[int, ...]) -> Settings:
    """Sample settings of SB3's A2C for one environment, from a space of about as many dimensions as TDA2C's.

    λ, the weight of the critic's loss and the optimizer stand in place of the critic's rate and the reward scale.

    :param trial: the trial
    :param environment: the environment
    :param n_envs: numbers of parallel environments to choose from
    """
    rate = trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True)
    decays = trial.suggest_categorical("decays", [False, True])
    width = trial.suggest_categorical("width", [32, 64, 128])
    n_steps = trial.suggest_categorical("n_steps", [1, 2, 5, 8, 16])
    copies, normalization = _environments(trial, n_envs)
    # A2C diverges if it normalizes the advantage of a single transition
    normalizes_advantage = trial.suggest_categorical("normalize_advantage", [False, True]) and n_steps * copies > 1
    arguments: dict[str, Any] = {
        "learning_rate": rate_setting(rate, decays),
        "gamma": trial.suggest_categorical("gamma", [0.9, 0.95, 0.98, 0.99, 0.995, 0.999]),
        "n_steps": n_steps,
        "gae_lambda": rounded(trial.suggest_float("gae_lambda", 0.0, 1.0)),
        "vf_coef": rounded(trial.suggest_float("vf_coef", 0.1, 1.0)),
        "use_rms_prop": trial.suggest_categorical("use_rms_prop", [False, True]),
        "ent_coef": rounded(trial.suggest_float("ent_coef", 1e-6, 0.1, log=True)),
        "max_grad_norm": trial.suggest_categorical("max_grad_norm", [NO_CLIPPING, 0.5]),
        "normalize_advantage": normalizes_advantage,
        "policy_kwargs": {
            "activation_fn": trial.suggest_categorical("activation_fn", ["ReLU", "Tanh"]),
            "net_arch": [width, width],
            "ortho_init": trial.suggest_categorical("ortho_init", [False, True]),
        },
    }
    if environment.is_continuous:
        arguments["use_sde"] = trial.suggest_categorical("use_sde", [False, True])
        arguments["policy_kwargs"]["log_std_init"] = trial.suggest_categorical("log_std_init", [-2.0, -1.0, 0.0])
    return Settings("A2C", copies, normalization, arguments)


def general(trial: optuna.trial.BaseTrial, environment: Environment) -> Settings:
    """Sample settings of TDA2C for all environments, with one copy of each.

    Only the actor's rate and the initial standard deviation are special to continuous actions. gSDE is left out, since
    the compiled engine does not have it.

    :param trial: the trial
    :param environment: the environment
    """
    actor_rate = trial.suggest_float("learning_rate", 3e-5, 2e-3, log=True)
    critic_rate = actor_rate * trial.suggest_float("critic_rate_ratio", 0.5, 20.0, log=True)
    continuous_rate = actor_rate * trial.suggest_float("continuous_rate_ratio", 0.05, 1.0, log=True)
    log_std_init = trial.suggest_categorical("log_std_init", [-2.0, -1.0, -0.5, 0.0])
    decays = trial.suggest_categorical("decays", [False, True])
    return Settings(
        "TDA2C",
        arguments={
            "learning_rate": rate_setting(continuous_rate if environment.is_continuous else actor_rate, decays),
            "critic_learning_rate": rate_setting(critic_rate, decays),
            "gamma": trial.suggest_categorical("gamma", [0.97, 0.98, 0.99, 0.995]),
            "n_steps": trial.suggest_categorical("n_steps", [2, 4, 8, 16]),
            "reward_scale": 1.0,
            "ent_coef": rounded(trial.suggest_float("ent_coef", 1e-6, 3e-2, log=True)),
            "max_grad_norm": trial.suggest_categorical("max_grad_norm", [None, 0.5]),
            "normalize_advantage": trial.suggest_categorical("normalize_advantage", [False, True]),
            "normalize_observations": True,
            "normalize_rewards": trial.suggest_categorical("normalizes", ["observations", "both"]) == "both",
            "bootstrap_on_truncation": True,
            "update_on_episode_end": False,
            # "auto" would not compile for so few steps
            "engine": "numba",
            "policy_kwargs": {
                "activation_fn": trial.suggest_categorical("activation_fn", ["ReLU", "Tanh"]),
                "net_arch": [64, 64],
                "ortho_init": True,
                **({"log_std_init": log_std_init} if environment.is_continuous else {}),
            },
        },
    )


def _environments(trial: optuna.trial.BaseTrial, n_envs: tuple[int, ...]) -> tuple[int, dict[str, Any] | None]:
    """Sample the number of environments, and the arguments of VecNormalize."""
    normalizes = trial.suggest_categorical("normalizes", [None, "observations", "both"])
    return (
        trial.suggest_categorical("n_envs", list(n_envs)),
        None if normalizes is None else {"norm_reward": normalizes == "both"},
    )
