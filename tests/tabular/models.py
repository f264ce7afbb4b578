"""TDA2C models on tabular environments."""

import csv
from pathlib import Path

import numpy as np
import torch as th
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_a2c_td import TDA2C
from sb3_a2c_td.envs.tabular import TabularEnv
from sb3_a2c_td.tabular.diagnostics import TabularDiagnosticsCallback
from sb3_a2c_td.tabular.mdp import TabularMDP

KEYS = {f"tabular/{name}" for name in ("value_rmse", "objective", "gradient_cosine", "gradient_cosine_visited")}


def with_termination(mdp: TabularMDP, probability: float) -> TabularMDP:
    """Add a terminal state that every step enters with some probability."""
    n_states, n_actions = mdp.rewards.shape
    transitions = np.zeros((n_states + 1, n_actions, n_states + 1))
    transitions[:-1, :, :-1] = (1 - probability) * mdp.transitions
    transitions[:-1, :, -1] = probability
    transitions[-1, :, -1] = 1.0
    rewards = np.vstack([mdp.rewards, np.zeros(n_actions)])
    return TabularMDP(transitions, rewards, np.append(mdp.initial, 0.0), np.arange(n_states + 1) == n_states, mdp.gamma)


def tabular_env(mdp: TabularMDP, n_envs: int = 1, observation: str = "one_hot") -> DummyVecEnv:
    return DummyVecEnv([lambda: TabularEnv(mdp, observation)] * n_envs)


def make_model(mdp: TabularMDP, n_envs: int = 1, observation: str = "one_hot", **kwargs) -> TDA2C:
    kwargs = {"gamma": mdp.gamma, "seed": 0, "device": "cpu"} | kwargs
    return TDA2C("MlpPolicy", tabular_env(mdp, n_envs, observation), **kwargs)


def make_tabular_model(mdp: TabularMDP, logits: np.ndarray, values: np.ndarray, n_envs: int = 1, **kwargs) -> TDA2C:
    """Make a model whose actor and critic are tables with these entries, and whose learning rates are 0."""
    kwargs = {"learning_rate": 0.0, "critic_learning_rate": 0.0, "policy_kwargs": {"net_arch": []}} | kwargs
    model = make_model(mdp, n_envs, **kwargs)
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.as_tensor(logits.T))
        model.policy.value_net.weight.copy_(th.as_tensor(model.reward_scale * values[None]))
    return model


def logged(model: TDA2C, n_steps: int, folder: Path, log_freq: int = 1) -> list[dict[str, float]]:
    """Train with the callback, and return the metrics that it logged."""
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(n_steps, TabularDiagnosticsCallback(log_freq))
    model.logger.close()
    with (folder / "progress.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("tabular/objective")]
    return [{key.removeprefix("tabular/"): float(row[key]) for key in KEYS} for row in rows]
