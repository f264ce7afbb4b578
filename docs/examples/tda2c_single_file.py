"""TDA2C in one file: an actor π(a|s) and a critic V(s), trained on one-step TD targets.

Equations in Sutton & Barto, "Reinforcement Learning: An Introduction", 2nd edition (2018):
y = r + γ V(s')                    the TD target, or y = r if the episode ended      (eq. 6.2)
A = y − V(s)                       the advantage, estimated by the TD error          (eq. 6.5)
actor loss  = mean(−A log π(a|s))  the policy gradient, without the factors γ^t      (eq. 13.14)
critic loss = mean((y − V(s))²)    semi-gradient TD(0)                               (section 9.3)
"""

import itertools

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

SEED = 0
N_EPISODES = 1_000
N_STEPS = 5  # length of a rollout, unless the episode ends first
GAMMA = 0.99
REWARD_SCALE = 0.01
ACTOR_LEARNING_RATE = 5e-4
CRITIC_LEARNING_RATE = 1e-3


def mlp(*sizes: int) -> nn.Sequential:
    """Build ReLU layers with Keras's initialization: Glorot-uniform weights and zero biases."""
    layers = []
    for n_inputs, n_outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        nn.init.xavier_uniform_(layers[-2].weight)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])  # the output has no ReLU


class KerasAdam:
    """Adam as in Keras: ε is added before the bias correction of √v. PyTorch adds it after the correction."""

    beta1, beta2, eps = 0.9, 0.999, 1e-7

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.params, self.learning_rate, self.t = list(network.parameters()), learning_rate, 0
        self.moments = [(torch.zeros_like(param), torch.zeros_like(param)) for param in self.params]

    def minimize(self, loss: torch.Tensor) -> None:
        """Take one step down the gradient of a loss."""
        self.t += 1
        beta1_t, beta2_t = torch.tensor([self.beta1, self.beta2]) ** self.t  # in float32, as in Keras
        step_size = self.learning_rate * torch.sqrt(1 - beta2_t) / (1 - beta1_t)
        grads = torch.autograd.grad(loss, self.params)
        with torch.no_grad():
            for param, grad, (m, v) in zip(self.params, grads, self.moments, strict=True):
                m += (1 - self.beta1) * (grad - m)
                v += (1 - self.beta2) * (grad**2 - v)
                param -= step_size * m / (v.sqrt() + self.eps)


class Agent:
    """A separate actor and critic for vector observations and discrete actions, each with its own optimizer."""

    def __init__(self, n_observations: int, n_actions: int) -> None:
        self.actor = mlp(n_observations, 32, 16, n_actions)  # logits of π(·|s)
        self.critic = mlp(n_observations, 32, 16, 16, 1)  # V(s)
        self.actor_optimizer = KerasAdam(self.actor, ACTOR_LEARNING_RATE)
        self.critic_optimizer = KerasAdam(self.critic, CRITIC_LEARNING_RATE)

    def update(self, rollout: list[tuple[np.ndarray, int, float, np.ndarray, bool]]) -> None:
        """Take one step of each optimizer on the N transitions (s, a, r, s', ended) of a rollout."""
        obs, actions, rewards, next_obs, ended = (torch.tensor(np.stack(x)).float() for x in zip(*rollout, strict=True))
        values = self.critic(obs).squeeze(1)  # (N,), as are actions, rewards and ended
        with torch.no_grad():  # y and A are constants of the losses
            next_values = self.critic(next_obs).squeeze(1)
            targets = REWARD_SCALE * rewards + GAMMA * (1 - ended) * next_values
            advantages = targets - values
        log_probs = Categorical(logits=self.actor(obs)).log_prob(actions)
        self.actor_optimizer.minimize(-(advantages * log_probs).mean())
        self.critic_optimizer.minimize(((targets - values) ** 2).mean())


def train(env: gym.Env, agent: Agent, n_episodes: int) -> None:
    """Update the agent every N_STEPS steps and at the end of each episode."""
    for episode in range(n_episodes):
        obs, _ = env.reset(seed=SEED if episode == 0 else None)
        rollout, episode_reward, ended = [], 0.0, False
        while not ended:
            action = Categorical(logits=agent.actor(torch.as_tensor(obs).float())).sample().item()  # a ~ π(·|s)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            rollout.append((obs, action, reward, next_obs, ended))
            if len(rollout) == N_STEPS or ended:
                agent.update(rollout)
                rollout = []
            obs, episode_reward = next_obs, episode_reward + reward
        print(f"EP{episode} EpisodeReward={episode_reward}")


if __name__ == "__main__":
    torch.manual_seed(SEED)
    train(gym.make("CartPole-v1"), Agent(n_observations=4, n_actions=2), N_EPISODES)
