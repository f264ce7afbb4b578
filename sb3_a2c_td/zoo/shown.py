"""TDA2C and RecurrentTDA2C for RL Zoo's scripts: models that are shown with the statistics in their zips."""

import warnings
from typing import Any, ClassVar, Self

from stable_baselines3.common.vec_env import VecNormalize

import sb3_a2c_td
from sb3_a2c_td.algorithms.checkpointed import Path
from sb3_a2c_td.algorithms.normalizing import TRAINED
from sb3_a2c_td.saving.normalization import saved_normalization_of
from sb3_a2c_td.saving.paths import file_name
from sb3_a2c_td.vec_env.normalization import fill


class ShownModel(sb3_a2c_td.TDA2C):
    """A model as RL Zoo's ``enjoy``, ``record`` and ``push_to_hub`` load it.

    They put the environment into a ``VecNormalize`` with the statistics at the end of training, also for the best model
    and for checkpoints, and ``enjoy`` loads the model without the environment. It then gets the statistics in the zip.
    """

    shown_normalize: ClassVar[VecNormalize | None] = None
    """the ``VecNormalize`` around the environment that the script shows"""

    @classmethod
    def load(cls, path: Path, *args: Any, **kwargs: Any) -> Self:
        """Load a model as ``TDA2C.load`` does, and its statistics into the environment that the script shows."""
        if cls.shown_normalize is None:
            return super().load(path, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{TRAINED}")
            model = super().load(path, *args, **kwargs)
        saved = saved_normalization_of(path, kwargs.get("trusted", False))
        if saved is not None:
            # the environment normalizes
            model.normalize_observations = False
            fill(cls.shown_normalize, saved.statistics)
            print(f"Observations are normalized by the statistics in {file_name(path)}")
        return model


class TDA2C(ShownModel):
    """TDA2C, whose name RL Zoo logs."""


class RecurrentTDA2C(ShownModel, sb3_a2c_td.RecurrentTDA2C):
    """RecurrentTDA2C, whose name RL Zoo logs."""
