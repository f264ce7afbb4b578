"""TDA2C: an advantage actor-critic on one-step temporal-difference targets, for Stable-Baselines3."""

from sb3_a2c_td.checkpoints.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.hyperparams import recommended, recommended_env
from sb3_a2c_td.maskable_policies import SeparateMaskablePolicy
from sb3_a2c_td.maskable_td_a2c import MaskableTDA2C
from sb3_a2c_td.memory import registration as memory_registration
from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy
from sb3_a2c_td.recurrent_policies import SeparateRecurrentPolicy
from sb3_a2c_td.recurrent_td_a2c import RecurrentTDA2C
from sb3_a2c_td.resumable import train_resumably
from sb3_a2c_td.tabular import registration as tabular_registration
from sb3_a2c_td.td_a2c import TDA2C
from sb3_a2c_td.vec_env import GymnasiumVecEnv
from sb3_a2c_td.version import __version__

__all__ = [
    "TDA2C",
    "AdamTFLike",
    "CnnPolicy",
    "GymnasiumVecEnv",
    "MaskableTDA2C",
    "MlpPolicy",
    "MultiInputPolicy",
    "RecurrentTDA2C",
    "SeparateActorCriticPolicy",
    "SeparateMaskablePolicy",
    "SeparateRecurrentPolicy",
    "UnreadableCheckpointError",
    "UntrustedCheckpointError",
    "__version__",
    "recommended",
    "recommended_env",
    "train_resumably",
]

memory_registration.register()
tabular_registration.register()
