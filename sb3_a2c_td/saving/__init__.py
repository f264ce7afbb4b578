"""Saves models atomically, and loads them without running code from the file.

``TDA2C.save`` writes SB3's zip with two more entries. To save something more:

- an attribute of the model: SB3 saves all attributes, except for those in ``_excluded_save_params``. If its class is
  new in the zip, add it to :mod:`~sb3_a2c_td.saving.unpickling.allowed_types`
- something that only resuming needs: :mod:`~sb3_a2c_td.saving.training_state`
- a new entry of the zip: :mod:`~sb3_a2c_td.saving.zip_entries`

``load`` uses the modules in this order: ``zips`` (reading and checking), ``zip_entries`` (names, version),
``attributes`` and ``unpickling`` (settings), ``tensor_shapes`` and ``model_checks`` (weights), ``checkpoints`` (all of
it together). ``resume`` adds ``training_state``, ``generators``, ``env_states`` and ``object_states``. ``save`` writes
files with ``atomic``, and ``train_resumably`` reserves them with ``locks``.
"""

from sb3_a2c_td.saving.checkpoints import Checkpoint, loading, read_attributes, read_checkpoint
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.saving.inspection import Contents, read_contents
from sb3_a2c_td.saving.optimizer_checks import check_optimizer
from sb3_a2c_td.saving.unpickling import restricted_loads

__all__ = [
    "Checkpoint",
    "Contents",
    "UnreadableCheckpointError",
    "UntrustedCheckpointError",
    "check_optimizer",
    "loading",
    "read_attributes",
    "read_checkpoint",
    "read_contents",
    "restricted_loads",
]
