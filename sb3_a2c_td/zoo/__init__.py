"""RL Zoo's scripts for TDA2C: ``python -m sb3_a2c_td.zoo``."""
