"""RL Zoo's scripts with TDA2C: ``python -m sb3_a2c_td.zoo``."""
