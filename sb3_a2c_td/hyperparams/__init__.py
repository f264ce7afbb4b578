"""Tuned settings of the three algorithms, and the search space."""
