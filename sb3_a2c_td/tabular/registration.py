"""The ids under which Gymnasium knows the tabular problems."""

import gymnasium as gym

IDS = {
    "sb3_a2c_td/RandomWalk-v0": ("random_walk", None),
    "sb3_a2c_td/Garnet-v0": ("garnet", 100),
    "sb3_a2c_td/Chain-v0": ("chain", 100),
}
"""id: (problem, steps after which an episode is truncated; the random walk always ends)"""


def register() -> None:
    """Register the ids that Gymnasium does not know yet."""
    for env_id, (problem, max_episode_steps) in IDS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="sb3_a2c_td.tabular.envs:make_env",
                vector_entry_point="sb3_a2c_td.tabular.envs:make_vector_env",
                max_episode_steps=max_episode_steps,
                kwargs={"problem": problem},
            )
