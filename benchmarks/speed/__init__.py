"""How fast TDA2C acts, trains and starts beside stock A2C, and what it costs."""
