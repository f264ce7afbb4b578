"""Comparison of how well TDA2C and other algorithms learn: experiments as data, their runs, statistics and report."""
