"""Gymnasium environments: finite MDPs, and partially observed tasks that need a recurrent policy."""

from sb3_a2c_td.envs.partially_observed import LastAction, Positions, TMaze, cartpole_without_velocities
from sb3_a2c_td.envs.tabular import TabularEnv, TabularVectorEnv

__all__ = ["LastAction", "Positions", "TMaze", "TabularEnv", "TabularVectorEnv", "cartpole_without_velocities"]
