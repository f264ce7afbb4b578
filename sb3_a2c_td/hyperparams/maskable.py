"""MaskableTDA2C's settings for RL Zoo: those of TDA2C to start from."""

from typing import Any

from sb3_a2c_td.hyperparams.tda2c import hyperparams as of_tda2c

hyperparams: dict[str, dict[str, Any]] = {"default": of_tda2c["default"]}
