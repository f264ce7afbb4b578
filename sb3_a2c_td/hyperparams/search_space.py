"""Search space of RL Zoo's ``--optimize`` and of the benchmark's studies, sampled by Optuna."""

from typing import Any

import optuna
from torch import nn

from sb3_a2c_td.schedules import LINEAR_PREFIX

ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "Tanh": nn.Tanh}


def sample_tda2c_params(
    trial: optuna.trial.BaseTrial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """Sample settings, with the signature of RL Zoo's samplers.

    :param trial: the trial
    :param n_actions: dimension of continuous actions, or 0 for other actions
    :param n_envs: number of environments; not used
    :param additional_args: arguments of other algorithms; not used
    :return: arguments of TDA2C
    """
    trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True)
    trial.suggest_float("critic_rate_ratio", 0.3, 10.0, log=True)
    trial.suggest_categorical("decays", [False, True])
    trial.suggest_categorical("activation_fn", list(ACTIVATIONS))
    trial.suggest_categorical("width", [32, 64, 128])
    trial.suggest_categorical("ortho_init", [False, True])
    trial.suggest_categorical("gamma", [0.9, 0.95, 0.98, 0.99, 0.995, 0.999])
    trial.suggest_categorical("n_steps", [1, 2, 5, 8, 16])
    trial.suggest_categorical("reward_scale", [0.01, 0.1, 1.0])
    trial.suggest_float("ent_coef", 1e-6, 0.1, log=True)
    trial.suggest_categorical("max_grad_norm", [None, 0.5])
    trial.suggest_categorical("normalize_advantage", [False, True])
    if n_actions > 0:
        trial.suggest_categorical("use_sde", [False, True])
        trial.suggest_categorical("log_std_init", [-2.0, -1.0, 0.0])
    return convert_tda2c_params(trial.params)


def convert_tda2c_params(sampled_params: dict[str, Any]) -> dict[str, Any]:
    """Convert the parameters of a trial to arguments of TDA2C.

    All settings have rollouts of fixed length, and bootstrap from V(s') if a time limit truncates the episode.

    :param sampled_params: a trial's parameters, named as in :func:`sample_tda2c_params`
    :return: arguments of TDA2C
    """
    rate = sampled_params["learning_rate"]
    decays = sampled_params["decays"]
    policy_kwargs: dict[str, Any] = {
        "activation_fn": ACTIVATIONS[sampled_params["activation_fn"]],
        "net_arch": [sampled_params["width"]] * 2,
        **_subset(sampled_params, "ortho_init", "log_std_init"),
    }
    return {
        "learning_rate": rate_setting(rate, decays),
        "critic_learning_rate": rate_setting(rate * sampled_params["critic_rate_ratio"], decays),
        "ent_coef": rounded(sampled_params["ent_coef"]),
        **_subset(sampled_params, "gamma", "n_steps", "reward_scale"),
        **_subset(sampled_params, "max_grad_norm", "normalize_advantage", "use_sde"),
        "bootstrap_on_truncation": True,
        "update_on_episode_end": False,
        "policy_kwargs": policy_kwargs,
    }


def _subset(sampled_params: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: sampled_params[name] for name in names if name in sampled_params}


def rate_setting(rate: float, decays: bool) -> float | str:
    """Return a learning rate of three significant digits as RL Zoo writes it.

    :param rate: the rate at the start
    :param decays: whether it decays linearly to zero
    """
    return f"{LINEAR_PREFIX}{rounded(rate)}" if decays else rounded(rate)


def rounded(number: float) -> float:
    """Round to three significant digits.

    :param number: the number
    """
    return float(f"{number:.3g}")
