"""TDA2C: an advantage actor-critic on one-step temporal-difference targets, for Stable-Baselines3."""

from sb3_a2c_td.algorithms.maskable import MaskableTDA2C
from sb3_a2c_td.algorithms.recurrent import RecurrentTDA2C
from sb3_a2c_td.algorithms.resumable import train_resumably
from sb3_a2c_td.algorithms.tda2c import TDA2C
from sb3_a2c_td.envs import registration
from sb3_a2c_td.hyperparams.tda2c import recommended, recommended_env
from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies.maskable import SeparateMaskablePolicy
from sb3_a2c_td.policies.recurrent import SeparateRecurrentPolicy
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy
from sb3_a2c_td.saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from sb3_a2c_td.vec_env.gymnasium_vec_env import GymnasiumVecEnv
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

registration.register()
