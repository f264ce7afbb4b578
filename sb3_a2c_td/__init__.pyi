"""TDA2C: an advantage actor-critic on one-step temporal-difference targets, for Stable-Baselines3."""

from .algorithms.maskable import MaskableTDA2C
from .algorithms.recurrent import RecurrentTDA2C
from .algorithms.resumable import train_resumably
from .algorithms.tda2c import TDA2C
from .hyperparams.tda2c import recommended, recommended_env
from .optimizers import AdamTFLike
from .policies.maskable import SeparateMaskablePolicy
from .policies.recurrent import SeparateRecurrentPolicy
from .policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy
from .saving.errors import UnreadableCheckpointError, UntrustedCheckpointError
from .vec_env.gymnasium_vec_env import GymnasiumVecEnv
from .version import __version__

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
