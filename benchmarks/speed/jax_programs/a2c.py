"""TDA2C with its default settings on CartPole-v1 as one JAX program: the whole training is one compiled scan.

It differs from TDA2C only where this saves time: all rollouts have 5 steps, and V(s') of a step is V(s) of the next
one. What made it faster on a CPU is part of it: parameters and moments in one vector each, an unrolled rollout, and
random numbers drawn for many rollouts at once by XLA's own generator. XLA's flags did not help: fast math, the old
runtime, wider vectors, XNNPACK, oneDNN, one thread for Eigen.
"""

import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.flatten_util import ravel_pytree

from benchmarks.speed.jax_programs.training import Training

WIDTHS = {"actor": (4, 32, 16, 2), "critic": (4, 32, 16, 16, 1)}
RATES = {"actor": 5e-4, "critic": 1e-3}
BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-7
GAMMA = 0.99
REWARD = 0.01
"""CartPole's reward, scaled"""
N_STEPS = 5
"""steps of each environment in a rollout"""
MANY_ENVS = 256
"""from here on, it is faster to draw random numbers for one rollout at a time, and not to unroll it"""
MAX_EPISODE_STEPS = 500
N_LAST = 10
"""the mean return is that of the last tenth of the training"""

Parameters = dict[str, list[tuple[Array, Array]]]


class Envs(NamedTuple):
    """The environments, with ``n`` rows."""

    states: Array
    """``(n, 4)``"""
    n_steps: Array
    """steps of the running episodes, ``(n,)``"""


class Noise(NamedTuple):
    """Uniform random numbers for each step."""

    actions: Array
    """in [0, 1), ``(..., n)``"""
    states: Array
    """states to reset to, ``(..., n, 4)``"""


class Learner(NamedTuple):
    """The parameters of both networks and Adam's moments, in one vector each."""

    parameters: Array
    first_moments: Array
    second_moments: Array
    n_updates: Array


class Episodes(NamedTuple):
    """Ended episodes."""

    total_return: Array
    number: Array


def make_training(n_envs: int, n_steps: int) -> Training:
    """Compile a training from scratch.

    :param n_envs: the number of environments
    :param n_steps: environment steps, rounded up
    """
    steps_per_draw = n_envs * N_STEPS * _rollouts_per_draw(n_envs)
    n_draws = -(-n_steps // steps_per_draw)
    train = jax.jit(functools.partial(_train, n_envs, n_draws)).lower(0).compile()
    return Training(
        run=lambda seed: jax.block_until_ready(train(seed)),
        mean_return=float,
        n_steps=n_draws * steps_per_draw,
    )


def _rollouts_per_draw(n_envs: int) -> int:
    """Return the number of rollouts whose random numbers are drawn together."""
    return 1 if n_envs >= MANY_ENVS else 20


def _train(n_envs: int, n_draws: int, seed: Array) -> Array:
    network_key, env_key, key = random.split(random.key(seed, impl="rbg"), 3)
    parameters, unravel = ravel_pytree(_init_parameters(network_key))
    zeros = jnp.zeros_like(parameters)
    envs = Envs(random.uniform(env_key, (n_envs, 4), minval=-0.05, maxval=0.05), jnp.zeros(n_envs, jnp.int32))
    rates = ravel_pytree(
        {
            name: jax.tree.map(lambda each, rate=RATES[name]: jnp.full_like(each, rate), layers)
            for name, layers in unravel(parameters).items()
        }
    )[0]

    def draw_and_update(carry: Any, key: Array) -> tuple[Any, Episodes]:
        noise = _draw(key, n_envs)
        carry, episodes = lax.scan(functools.partial(_update, unravel, rates), carry, noise)
        return carry, jax.tree.map(jnp.sum, episodes)

    learner = Learner(parameters, zeros, zeros, jnp.float32(0))
    _, episodes = lax.scan(draw_and_update, (learner, envs), random.split(key, n_draws))
    last = max(1, n_draws // N_LAST)
    return jnp.sum(episodes.total_return[-last:]) / jnp.maximum(jnp.sum(episodes.number[-last:]), 1)


def _init_parameters(key: Array) -> Parameters:
    parameters: Parameters = {}
    for name, widths in WIDTHS.items():
        parameters[name] = []
        for n_in, n_out in pairwise(widths):
            key, layer_key = random.split(key)
            limit = (6 / (n_in + n_out)) ** 0.5
            weights = random.uniform(layer_key, (n_in, n_out), minval=-limit, maxval=limit)
            parameters[name].append((weights, jnp.zeros(n_out)))
    return parameters


def _draw(key: Array, n_envs: int) -> Noise:
    action_key, state_key = random.split(key)
    shape = (_rollouts_per_draw(n_envs), N_STEPS, n_envs)
    return Noise(random.uniform(action_key, shape), random.uniform(state_key, (*shape, 4), minval=-0.05, maxval=0.05))


def _update(
    unravel: Callable[[Array], Parameters], rates: Array, carry: tuple[Learner, Envs], noise: Noise
) -> tuple[tuple[Learner, Envs], Episodes]:
    """Collect a rollout and take a step of Adam."""
    learner, envs = carry
    unroll = 1 if len(envs.n_steps) >= MANY_ENVS else N_STEPS
    step = functools.partial(_step, unravel(learner.parameters)["actor"])
    envs, (states, actions, ended, episodes) = lax.scan(step, envs, noise, unroll=unroll)
    all_states = jnp.concatenate([states, envs.states[None]])
    gradient = jax.grad(lambda flat: _loss(unravel(flat), all_states, actions, ended))(learner.parameters)
    return (_adam(learner, gradient, rates), envs), jax.tree.map(jnp.sum, episodes)


def _step(actor: list[tuple[Array, Array]], envs: Envs, noise: Noise) -> tuple[Envs, Any]:
    """Act, step the environments, and reset those whose episode ended."""
    logits = _network(actor, envs.states)
    actions = noise.actions < jax.nn.sigmoid(logits[:, 1] - logits[:, 0])
    states = _cartpole(envs.states, actions)
    n_steps = envs.n_steps + 1
    x, theta = states[:, 0], states[:, 2]
    terminated = (jnp.abs(x) > 2.4) | (jnp.abs(theta) > 12 * 2 * jnp.pi / 360)
    ended = terminated | (n_steps >= MAX_EPISODE_STEPS)
    episodes = Episodes(jnp.where(ended, n_steps, 0), ended.astype(jnp.int32))
    following = Envs(jnp.where(ended[:, None], noise.states, states), jnp.where(ended, 0, n_steps))
    return following, (envs.states, actions, ended, episodes)


def _cartpole(states: Array, actions: Array) -> Array:
    x, x_dot, theta, theta_dot = states.T
    force = jnp.where(actions, 10.0, -10.0)
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    temp = (force + 0.05 * theta_dot**2 * sin) / 1.1
    theta_acc = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1))
    x_acc = temp - 0.05 * theta_acc * cos / 1.1
    return jnp.stack(
        [x + 0.02 * x_dot, x_dot + 0.02 * x_acc, theta + 0.02 * theta_dot, theta_dot + 0.02 * theta_acc], 1
    )


def _network(layers: list[tuple[Array, Array]], inputs: Array) -> Array:
    *hidden, (last_weights, last_biases) = layers
    for weights, biases in hidden:
        inputs = jax.nn.relu(inputs @ weights + biases)
    return inputs @ last_weights + last_biases


def _loss(parameters: Parameters, states: Array, actions: Array, ended: Array) -> Array:
    """Add the losses of actor and critic, which share no parameters.

    :param states: ``(N_STEPS + 1, n, 4)``
    :param actions: bool ``(N_STEPS, n)``
    :param ended: bool ``(N_STEPS, n)``
    """
    values = _network(parameters["critic"], states.reshape(-1, 4)).reshape(states.shape[:2])
    targets = lax.stop_gradient(REWARD + GAMMA * jnp.where(ended, 0.0, values[1:]))
    advantages = targets - values[:-1]
    logits = _network(parameters["actor"], states[:-1].reshape(-1, 4))
    differences = (logits[:, 1] - logits[:, 0]).reshape(actions.shape)
    log_probs = -jax.nn.softplus(jnp.where(actions, -differences, differences))
    return -jnp.mean(lax.stop_gradient(advantages) * log_probs) + jnp.mean(advantages**2)


def _adam(learner: Learner, gradient: Array, rates: Array) -> Learner:
    n_updates = learner.n_updates + 1
    first = BETA_1 * learner.first_moments + (1 - BETA_1) * gradient
    second = BETA_2 * learner.second_moments + (1 - BETA_2) * gradient**2
    step_sizes = rates * jnp.sqrt(1 - BETA_2**n_updates) / (1 - BETA_1**n_updates)
    parameters = learner.parameters - step_sizes * first / (jnp.sqrt(second) + EPS)
    return Learner(parameters, first, second, n_updates)
