"""The settings among which RL Zoo's ``--optimize`` and the benchmark's studies search, drawn by Optuna."""

from collections.abc import Mapping
from typing import Any

import optuna
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "Tanh": nn.Tanh}


def sample_tda2c_params(
    trial: optuna.Trial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """Draw settings, as RL Zoo asks for them.

    :param trial: the trial
    :param n_actions: numbers in a continuous action; 0 for other actions
    :param n_envs: environments side by side; not needed
    :param additional_args: what other algorithms need
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


def convert_tda2c_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Make arguments of what was drawn: everywhere fixed intervals, and V(s') where a time limit cut the episode.

    :param params: a trial's parameters, as :func:`sample_tda2c_params` names them
    :return: arguments of TDA2C
    """
    rate, critic_rate = params["learning_rate"], params["learning_rate"] * params["critic_rate_ratio"]
    taken = ("gamma", "n_steps", "reward_scale", "max_grad_norm", "normalize_advantage", "use_sde")
    policy_kwargs = {
        "activation_fn": ACTIVATIONS[params["activation_fn"]],
        "net_arch": [params["width"]] * 2,
        **{name: params[name] for name in ("ortho_init", "log_std_init") if name in params},
    }
    return {
        "learning_rate": f"lin_{rate:.3g}" if params["decays"] else _rounded(rate),
        "critic_learning_rate": f"lin_{critic_rate:.3g}" if params["decays"] else _rounded(critic_rate),
        "ent_coef": _rounded(params["ent_coef"]),
        **{name: params[name] for name in taken if name in params},
        "bootstrap_on_truncation": True,
        "update_on_episode_end": False,
        "policy_kwargs": policy_kwargs,
    }


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")
