"""How well and how fast TDA2C learns beside stock A2C: experiments as data, their runs, statistics and report."""
