"""Algorithms in JAX to compare with. They import neither this package nor its requirements."""
