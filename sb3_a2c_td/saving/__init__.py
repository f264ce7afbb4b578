"""Saved models: written whole or not at all, and read without running code that they hold."""

from sb3_a2c_td.saving.archives import Checkpoint, loading, read_attributes, read_checkpoint
from sb3_a2c_td.saving.contents import Contents, read_contents
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving.tensors import check_moments
from sb3_a2c_td.saving.unpickling import restricted_loads

__all__ = [
    "Checkpoint",
    "Contents",
    "UnreadableCheckpointError",
    "UntrustedCheckpointError",
    "check_moments",
    "loading",
    "read_attributes",
    "read_checkpoint",
    "read_contents",
    "restricted_loads",
]
