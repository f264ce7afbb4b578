"""The ids under which Gymnasium knows the tasks that take a memory."""

import gymnasium as gym

IDS = {
    "sb3_a2c_td/TMaze-v0": ("TMaze", 100),
    "sb3_a2c_td/CartPoleWithoutVelocities-v0": ("cartpole_without_velocities", None),
}
"""id: (name in :mod:`sb3_a2c_td.memory.tasks`, steps after which an episode is truncated, if its own do not say)"""


def register() -> None:
    """Register the ids that Gymnasium does not know yet."""
    for env_id, (name, max_episode_steps) in IDS.items():
        if env_id not in gym.registry:
            gym.register(env_id, f"sb3_a2c_td.memory.tasks:{name}", max_episode_steps=max_episode_steps)
