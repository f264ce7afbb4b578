"""Tuned settings, and the space they were searched in."""
