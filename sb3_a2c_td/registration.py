"""Gymnasium ids of the environments: those of this package, and MinAtar's.

This module imports Gymnasium only, since importing the package runs it.
"""

from typing import Any

import gymnasium as gym

TABULAR = {
    "sb3_a2c_td/RandomWalk-v0": ("random_walk", None),
    "sb3_a2c_td/Garnet-v0": ("garnet", 100),
    "sb3_a2c_td/Chain-v0": ("chain", 100),
}
"""id: (problem, steps until truncation; episodes of the random walk always terminate)"""

PARTIALLY_OBSERVED = {
    "sb3_a2c_td/TMaze-v0": ("TMaze", 100),
    "sb3_a2c_td/CartPoleWithoutVelocities-v0": ("cartpole_without_velocities", None),
}
"""id: (name in :mod:`sb3_a2c_td.envs.partially_observed`, steps until truncation; CartPole truncates by itself)"""

COMPILED = {
    "sb3_a2c_td/CartPole-v1": (500, 475.0),
    "sb3_a2c_td/Acrobot-v1": (500, -100.0),
    "sb3_a2c_td/MountainCar-v0": (200, -110.0),
    "sb3_a2c_td/MountainCarContinuous-v0": (999, 90.0),
    "sb3_a2c_td/Pendulum-v1": (200, None),
    "sb3_a2c_td/Inventory-v0": (100, None),
}
"""id: (steps until truncation, mean return at which the task counts as solved, as Gymnasium has it)"""

MINATAR_PREFIX = "MinAtar/"
"""prefix of the ids of the MinAtar games"""


def register() -> None:
    """Register this package's ids, except those that Gymnasium already knows."""
    for env_id, (problem, steps) in TABULAR.items():
        _register(env_id, "envs.tabular", steps, kwargs={"problem": problem})
    for env_id, (steps, threshold) in COMPILED.items():
        _register(env_id, "compiled.making", steps, kwargs={"env_id": env_id}, reward_threshold=threshold)
    for env_id, (name, steps) in PARTIALLY_OBSERVED.items():
        if env_id not in gym.registry:
            gym.register(env_id, f"sb3_a2c_td.envs.partially_observed:{name}", max_episode_steps=steps)


def _register(env_id: str, module: str, max_episode_steps: int | None, **more: Any) -> None:
    """Register an id, unless it is known, whose module makes single and vector environments."""
    if env_id not in gym.registry:
        gym.register(
            env_id,
            entry_point=f"sb3_a2c_td.{module}:make_env",
            vector_entry_point=f"sb3_a2c_td.{module}:make_vector_env",
            max_episode_steps=max_episode_steps,
            **more,
        )


def register_for(env_id: str) -> None:
    """Register the MinAtar games if an id names one: they do not register themselves.

    :param env_id: the id
    :raises ImportError: if it is that of a MinAtar game, and the package ``minatar`` is not installed
    """
    if not env_id.startswith(MINATAR_PREFIX):
        return
    # an optional dependency
    from minatar.gym import register_envs

    if not any(known.startswith(MINATAR_PREFIX) for known in gym.registry):
        register_envs()
