"""Finite MDPs, their exact solutions, and environments that sample them."""
