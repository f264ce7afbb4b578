"""TDA2C: an advantage actor-critic on one-step temporal-difference targets, for Stable-Baselines3."""

import lazy_loader

from sb3_a2c_td import registration

# the names are imported when they are used, since PyTorch and SB3 take seconds: the command line's help needs none
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

registration.register()
