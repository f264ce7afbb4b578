"""MaskableTDA2C's settings for RL Zoo: those of TDA2C that are no environment's own, to start from."""

from typing import Any

from sb3_a2c_td.hyperparams import hyperparams as of_tda2c

hyperparams: dict[str, dict[str, Any]] = {name: of_tda2c[name] for name in ("default", "atari")}
