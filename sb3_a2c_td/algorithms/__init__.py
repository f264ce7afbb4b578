"""TDA2C, its variants, and resumable training."""
