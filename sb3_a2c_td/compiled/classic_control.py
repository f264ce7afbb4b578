"""Gymnasium's classic control, compiled: the same numbers from the same seeds.

Where Gymnasium computes in float32, so do these functions. Sines and cosines come from another library, so trajectories
can differ in the last digits.
"""

import functools
import math
from typing import Any

import gymnasium as gym
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


# Acrobot

ACROBOT_SECONDS = 0.2
"""seconds between two states"""
MAX_VELOCITY_1, MAX_VELOCITY_2 = 4 * math.pi, 9 * math.pi


def reset_acrobot(state: np.ndarray, rng: np.random.Generator) -> None:
    """Start hanging down, nearly at rest."""
    for i in range(4):
        state[i] = np.float32(rng.uniform(-0.1, 0.1))


def step_acrobot(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Apply the torque -1, 0 or 1 to the joint between the links. The episode ends when the tip is high enough.

    Links have mass 1, length 1, their center at 0.5, and a moment of inertia of 1. Integrated by Runge-Kutta 4.
    """
    torque = action - 1.0

    def derivatives(
        theta_1: float, theta_2: float, velocity_1: float, velocity_2: float
    ) -> tuple[float, float, float, float]:
        d1 = 0.25 + (1.0 + 0.25 + 2 * 0.5 * math.cos(theta_2)) + 1.0 + 1.0
        d2 = (0.25 + 0.5 * math.cos(theta_2)) + 1.0
        phi_2 = 0.5 * GRAVITY * math.cos(theta_1 + theta_2 - math.pi / 2.0)
        phi_1 = (
            -0.5 * velocity_2**2 * math.sin(theta_2)
            - 2 * 0.5 * velocity_2 * velocity_1 * math.sin(theta_2)
            + 1.5 * GRAVITY * math.cos(theta_1 - math.pi / 2)
            + phi_2
        )
        acceleration_2 = (torque + d2 / d1 * phi_1 - 0.5 * velocity_1**2 * math.sin(theta_2) - phi_2) / (
            0.25 + 1.0 - d2**2 / d1
        )
        acceleration_1 = -(d2 * acceleration_2 + phi_1) / d1
        return velocity_1, velocity_2, acceleration_1, acceleration_2

    half, sixth = ACROBOT_SECONDS / 2.0, ACROBOT_SECONDS / 6.0
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    a0, a1, a2, a3 = derivatives(s0, s1, s2, s3)
    b0, b1, b2, b3 = derivatives(s0 + half * a0, s1 + half * a1, s2 + half * a2, s3 + half * a3)
    c0, c1, c2, c3 = derivatives(s0 + half * b0, s1 + half * b1, s2 + half * b2, s3 + half * b3)
    d0, d1, d2, d3 = derivatives(
        s0 + ACROBOT_SECONDS * c0, s1 + ACROBOT_SECONDS * c1, s2 + ACROBOT_SECONDS * c2, s3 + ACROBOT_SECONDS * c3
    )
    state[0] = s0 + sixth * (a0 + 2 * b0 + 2 * c0 + d0)
    state[1] = s1 + sixth * (a1 + 2 * b1 + 2 * c1 + d1)
    for i in range(2):
        while state[i] > math.pi:
            state[i] -= 2 * math.pi
        while state[i] < -math.pi:
            state[i] += 2 * math.pi
    state[2] = min(max(s2 + sixth * (a2 + 2 * b2 + 2 * c2 + d2), -MAX_VELOCITY_1), MAX_VELOCITY_1)
    state[3] = min(max(s3 + sixth * (a3 + 2 * b3 + 2 * c3 + d3), -MAX_VELOCITY_2), MAX_VELOCITY_2)
    terminated = -math.cos(state[0]) - math.cos(state[1] + state[0]) > 1.0
    return 0.0 if terminated else -1.0, terminated


def observe_acrobot(state: np.ndarray, out: np.ndarray) -> None:
    """Observe cosines and sines of both angles, and both velocities."""
    out[0], out[1] = math.cos(state[0]), math.sin(state[0])
    out[2], out[3] = math.cos(state[1]), math.sin(state[1])
    out[4], out[5] = state[2], state[3]


# MountainCar

MIN_CAR_POSITION, MAX_CAR_POSITION = -1.2, 0.6
MAX_CAR_SPEED = 0.07
CAR_GRAVITY = 0.0025


def reset_mountain_car(state: np.ndarray, rng: np.random.Generator) -> None:
    """Start in the valley, at rest."""
    state[0] = rng.uniform(-0.6, -0.4)
    state[1] = 0.0


def step_mountain_car(state: np.ndarray, action: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Accelerate to the left (0), not at all (1), or to the right (2)."""
    position, velocity = state[0], state[1]
    velocity += (action - 1) * 0.001 + math.cos(3 * position) * -CAR_GRAVITY
    velocity = min(max(velocity, -MAX_CAR_SPEED), MAX_CAR_SPEED)
    position = min(max(position + velocity, MIN_CAR_POSITION), MAX_CAR_POSITION)
    if position == MIN_CAR_POSITION and velocity < 0:
        velocity = 0.0
    state[0], state[1] = position, velocity
    return -1.0, position >= 0.5 and velocity >= 0


def step_mountain_car_continuous(state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> tuple[float, bool]:
    """Accelerate by a force from -1 to 1, at the cost of its square.

    Gymnasium's first state is float64; from then on, it computes in float32.
    """
    lowest, highest, fastest = np.float32(MIN_CAR_POSITION), np.float32(MAX_CAR_POSITION), np.float32(MAX_CAR_SPEED)
    is_first = state[0] != np.float32(state[0])
    tripled = 3 * state[0] if is_first else np.float64(np.float32(3 * state[0]))
    force = min(max(action[0], np.float32(-1.0)), np.float32(1.0))
    acceleration = force * np.float32(0.0015) - np.float32(CAR_GRAVITY * math.cos(tripled))
    velocity = np.float32(state[1]) + acceleration
    velocity = min(max(velocity, -fastest), fastest)
    position = min(max(np.float32(state[0] + velocity), lowest), highest)
    if position == lowest and velocity < 0:
        velocity = np.float32(0.0)
    state[0], state[1] = position, velocity
    terminated = bool(position >= np.float32(0.45) and velocity >= 0)
    return (100.0 if terminated else 0.0) - np.float64(action[0]) ** 2 * 0.1, terminated


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


def draw(env_id: str, state: np.ndarray) -> np.ndarray:
    """Draw a state with Gymnasium's renderer.

    :param env_id: the id of Gymnasium's environment
    :param state: the state
    """
    drawer = _drawer(env_id)
    drawer.state = state
    # the torque that Pendulum draws as an arrow
    drawer.last_u = None
    picture: np.ndarray = drawer.render()
    return picture


@functools.cache
def _drawer(env_id: str) -> Any:
    return gym.make(env_id, render_mode="rgb_array").unwrapped


def _box(*high: float) -> spaces.Box:
    bounds = np.array(high, np.float32)
    return spaces.Box(-bounds, bounds)


CARS = spaces.Box(
    np.array([MIN_CAR_POSITION, -MAX_CAR_SPEED], np.float32), np.array([MAX_CAR_POSITION, MAX_CAR_SPEED], np.float32)
)
CARTPOLE = CompiledEnv(
    observation_space=_box(2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf),
    action_space=spaces.Discrete(2),
    state_size=4,
    reset=reset_cartpole,
    step=step_cartpole,
    max_episode_steps=500,
    render=functools.partial(draw, "CartPole-v1"),
)
ACROBOT = CompiledEnv(
    observation_space=_box(1.0, 1.0, 1.0, 1.0, MAX_VELOCITY_1, MAX_VELOCITY_2),
    action_space=spaces.Discrete(3),
    state_size=4,
    reset=reset_acrobot,
    step=step_acrobot,
    observe=observe_acrobot,
    max_episode_steps=500,
    render=functools.partial(draw, "Acrobot-v1"),
)
MOUNTAIN_CAR = CompiledEnv(
    observation_space=CARS,
    action_space=spaces.Discrete(3),
    state_size=2,
    reset=reset_mountain_car,
    step=step_mountain_car,
    max_episode_steps=200,
    render=functools.partial(draw, "MountainCar-v0"),
)
MOUNTAIN_CAR_CONTINUOUS = CompiledEnv(
    observation_space=CARS,
    action_space=_box(1.0),
    state_size=2,
    reset=reset_mountain_car,
    step=step_mountain_car_continuous,
    max_episode_steps=999,
    render=functools.partial(draw, "MountainCarContinuous-v0"),
)
PENDULUM = CompiledEnv(
    observation_space=_box(1.0, 1.0, MAX_SPEED),
    action_space=_box(MAX_TORQUE),
    state_size=2,
    reset=reset_pendulum,
    step=step_pendulum,
    observe=observe_pendulum,
    max_episode_steps=200,
    render=functools.partial(draw, "Pendulum-v1"),
)
