"""Plots of training runs."""

from sb3_a2c_td import extras

with extras.needed("plots", "plotting"):
    import matplotlib  # noqa: F401
    import pandas  # noqa: F401
