"""MaskableTDA2C's settings for RL Zoo: TDA2C's default settings."""

from typing import Any

from sb3_a2c_td.hyperparams.tda2c import hyperparams as tda2c_hyperparams

hyperparams: dict[str, dict[str, Any]] = {"default": tda2c_hyperparams["default"]}
