"""MaskableTDA2C's settings for RL Zoo: TDA2C's default settings, without what is for continuous actions."""

from copy import deepcopy
from typing import Any

from sb3_a2c_td.hyperparams.tda2c import hyperparams as tda2c_hyperparams

hyperparams: dict[str, dict[str, Any]] = {"default": deepcopy(tda2c_hyperparams["default"])}
del hyperparams["default"]["policy_kwargs"]["log_std_init"]
