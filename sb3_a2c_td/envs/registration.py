"""The ids under which Gymnasium knows the environments of this package."""

import gymnasium as gym

TABULAR = {
    "sb3_a2c_td/RandomWalk-v0": ("random_walk", None),
    "sb3_a2c_td/Garnet-v0": ("garnet", 100),
    "sb3_a2c_td/Chain-v0": ("chain", 100),
}
"""id: (problem, steps after which an episode is truncated; the random walk always ends)"""

PARTIALLY_OBSERVED = {
    "sb3_a2c_td/TMaze-v0": ("TMaze", 100),
    "sb3_a2c_td/CartPoleWithoutVelocities-v0": ("cartpole_without_velocities", None),
}
"""id: (name in :mod:`sb3_a2c_td.envs.memory`, steps after which an episode is truncated, unless its own spec says)"""


def register() -> None:
    """Register the ids that Gymnasium does not know yet."""
    for env_id, (problem, max_episode_steps) in TABULAR.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="sb3_a2c_td.envs.tabular:make_env",
                vector_entry_point="sb3_a2c_td.envs.tabular:make_vector_env",
                max_episode_steps=max_episode_steps,
                kwargs={"problem": problem},
            )
    for env_id, (name, max_episode_steps) in PARTIALLY_OBSERVED.items():
        if env_id not in gym.registry:
            gym.register(env_id, f"sb3_a2c_td.envs.memory:{name}", max_episode_steps=max_episode_steps)
