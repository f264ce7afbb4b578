"""``docs/examples/tda2c_single_file.py`` is TDA2C."""

import contextlib
import io
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_a2c_td import TDA2C
from tests.docs import DOCS
from tests.engines import MLP_ENGINES

EXAMPLE = SimpleNamespace(**runpy.run_path(str(DOCS / "examples" / "tda2c_single_file.py")))
N_EPISODES = 80
N_UPDATES = 300
Weights = list[np.ndarray]


class RecordedActions(gym.ActionWrapper):
    """Record the actions that an environment receives."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.actions: list[int] = []

    def action(self, action: int) -> int:
        self.actions.append(action)
        return action


class RecordedAgent(EXAMPLE.Agent):
    """Record the initial weights and those after each update."""

    def __init__(self, n_observations: int, n_actions: int) -> None:
        super().__init__(n_observations, n_actions)
        self.history = [copied(self.parameters())]

    def parameters(self) -> list[nn.Parameter]:
        return [*self.actor.parameters(), *self.critic.parameters()]

    def update(self, rollout: list[tuple[np.ndarray, int, float, np.ndarray, bool]]) -> None:
        super().update(rollout)
        self.history.append(copied(self.parameters()))


class ReplayedTDA2C(TDA2C):
    """Take recorded actions, and record the initial weights and those after each update."""

    actions: Iterator[int]
    history: list[Weights]

    def parameters(self) -> list[nn.Parameter]:
        return [*self.policy.actor_parameters(), *self.policy.critic_parameters()]

    def replay(self, weights: Weights, actions: list[int]) -> None:
        with th.no_grad():
            for param, weight in zip(self.parameters(), weights, strict=True):
                param.copy_(th.as_tensor(weight))
        self.actions, self.history = iter(actions), [copied(self.parameters())]
        self.learn(len(actions))

    def sample_actions(self, observations: np.ndarray) -> np.ndarray:
        return np.array([next(self.actions)])

    def train(self) -> None:
        super().train()
        self.history.append(copied(self.parameters()))


def copied(parameters: list[nn.Parameter]) -> Weights:
    return [param.numpy(force=True).copy() for param in parameters]


def make_env() -> gym.Env:
    """Make an environment in which some episodes are truncated, and some terminate."""
    return gym.make("CartPole-v1", max_episode_steps=25)


@dataclass
class Run:
    weights: list[Weights]
    actions: list[int]
    returns: list[float]


@pytest.fixture(scope="module")
def run() -> Run:
    env = RecordedActions(make_env())
    th.manual_seed(EXAMPLE.SEED)
    agent = RecordedAgent(n_observations=4, n_actions=2)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        EXAMPLE.train(env, agent, N_EPISODES)
    returns = re.findall(r"^EP\d+ EpisodeReward=(.+)$", output.getvalue(), re.MULTILINE)
    return Run(agent.history, env.actions, [float(value) for value in returns])


@pytest.mark.parametrize("engine", MLP_ENGINES)
def test_weights_equal_those_of_tda2c_after_every_update(run: Run, engine: str) -> None:
    model = ReplayedTDA2C("MlpPolicy", make_env(), seed=EXAMPLE.SEED, device="cpu", engine=engine)
    model.replay(run.weights[0], run.actions)
    assert len(model.history) == len(run.weights) > N_UPDATES
    for ours, theirs in zip(run.weights, model.history, strict=True):
        for weight, expected in zip(ours, theirs, strict=True):
            # rounding adds up, in another way on each processor
            np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-5)
    assert min(run.returns) < max(run.returns) == 25
    assert run.returns == [info["r"] for info in model.ep_info_buffer]


def test_initial_weights_are_glorot_uniform_with_zero_biases() -> None:
    th.manual_seed(0)
    agent = EXAMPLE.Agent(n_observations=4, n_actions=2)
    for layer in [*agent.actor[::2], *agent.critic[::2]]:
        bound = np.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
