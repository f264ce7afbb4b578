"""Gymnasium's classic control, compiled: the same numbers from the same seeds.

Where Gymnasium computes in float32, so do these functions. Sines and cosines come from another library, so trajectories
can differ in the last digits.
"""

import math

import numpy as np
from gymnasium import spaces

from sb3_a2c_td.compiled.env import CompiledEnv

# CartPole

GRAVITY = 9.8
CART_MASS, POLE_MASS = 1.0, 0.1
TOTAL_MASS = CART_MASS + POLE_MASS
HALF_LENGTH = 0.5
POLE_MOMENT = POLE_MASS * HALF_LENGTH
FORCE = 10.0
CARTPOLE_SECONDS = 0.02
"""seconds between two states"""
MAX_POSITION = 2.4
MAX_ANGLE = 12 * 2 * math.pi / 360


def reset_cartpole(state: np.ndarray, rng: np.random.Generator) -> None:
    """Start near the middle, with the pole nearly upright."""
    for i in range(4):
        state[i] = rng.uniform(-0.05, 0.05)


def step_cartpole(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Push the cart to the left (0) or to the right (1)."""
    x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
    force = FORCE if action == 1 else -FORCE
    cos, sin = math.cos(theta), math.sin(theta)
    temp = (force + POLE_MOMENT * theta_dot**2 * sin) / TOTAL_MASS
    theta_acc = (GRAVITY * sin - cos * temp) / (HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * cos**2 / TOTAL_MASS))
    x_acc = temp - POLE_MOMENT * theta_acc * cos / TOTAL_MASS
    state[0] = x + CARTPOLE_SECONDS * x_dot
    state[1] = x_dot + CARTPOLE_SECONDS * x_acc
    state[2] = theta + CARTPOLE_SECONDS * theta_dot
    state[3] = theta_dot + CARTPOLE_SECONDS * theta_acc
    return 1.0, abs(state[0]) > MAX_POSITION or abs(state[2]) > MAX_ANGLE


# Pendulum

MAX_SPEED, MAX_TORQUE = 8.0, 2.0
PENDULUM_SECONDS = 0.05
"""seconds between two states"""


def reset_pendulum(state: np.ndarray, rng: np.random.Generator) -> None:
    """Start at any angle, with a moderate speed."""
    state[0] = rng.uniform(-math.pi, math.pi)
    state[1] = rng.uniform(-1.0, 1.0)


def step_pendulum(state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> tuple[float, bool]:
    """Apply a torque. The cost grows with the angle from upright, the speed and the torque."""
    theta, theta_dot = state[0], state[1]
    torque = min(max(action[0], np.float32(-MAX_TORQUE)), np.float32(MAX_TORQUE))
    angle = (theta + math.pi) % (2 * math.pi) - math.pi
    cost = angle**2 + 0.1 * theta_dot**2 + np.float32(0.001) * torque**2
    theta_dot += (15.0 * math.sin(theta) + np.float32(3.0) * torque) * PENDULUM_SECONDS
    theta_dot = min(max(theta_dot, -MAX_SPEED), MAX_SPEED)
    state[0] = theta + theta_dot * PENDULUM_SECONDS
    state[1] = theta_dot
    return -cost, False


def observe_pendulum(state: np.ndarray, out: np.ndarray) -> None:
    """Observe the cosine and sine of the angle, and the speed."""
    out[0], out[1], out[2] = math.cos(state[0]), math.sin(state[0]), state[1]


def _box(*high: float) -> spaces.Box:
    bounds = np.array(high, np.float32)
    return spaces.Box(-bounds, bounds)


CARTPOLE = CompiledEnv(
    observation_space=_box(2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf),
    action_space=spaces.Discrete(2),
    state_size=4,
    reset=reset_cartpole,
    step=step_cartpole,
    max_episode_steps=500,
)
PENDULUM = CompiledEnv(
    observation_space=_box(1.0, 1.0, MAX_SPEED),
    action_space=_box(MAX_TORQUE),
    state_size=2,
    reset=reset_pendulum,
    step=step_pendulum,
    observe=observe_pendulum,
    max_episode_steps=200,
)
