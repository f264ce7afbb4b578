"""Tasks that take a memory."""

from sb3_a2c_td.memory.tasks import LastAction, Positions, TMaze, cartpole_without_velocities

__all__ = ["LastAction", "Positions", "TMaze", "cartpole_without_velocities"]
