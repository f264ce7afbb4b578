"""Policies made of modules that treat every row alike, in training and in evaluation mode."""

from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, MlpExtractor, NatureCNN
from torch import nn

from sb3_a2c_td.engines.change_detection import is_altered
from sb3_a2c_td.policies.maskable import MaskableCnnPolicy, MaskableMlpPolicy, MaskableMultiInputPolicy
from sb3_a2c_td.policies.recurrent import CnnLstmPolicy, MlpLstmPolicy, MultiInputLstmPolicy
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateNetworks

STATELESS: frozenset[type[nn.Module]] = frozenset(
    [
        MlpPolicy,
        CnnPolicy,
        MultiInputPolicy,
        MaskableMlpPolicy,
        MaskableCnnPolicy,
        MaskableMultiInputPolicy,
        MlpLstmPolicy,
        CnnLstmPolicy,
        MultiInputLstmPolicy,
        MlpExtractor,
        FlattenExtractor,
        NatureCNN,
        CombinedExtractor,
        nn.Sequential,
        nn.ModuleList,
        nn.ModuleDict,
        nn.Identity,
        nn.Flatten,
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.LayerNorm,
        nn.LSTM,
        nn.ReLU,
        nn.LeakyReLU,
        nn.ELU,
        nn.SELU,
        nn.GELU,
        nn.SiLU,
        nn.Softplus,
        nn.Tanh,
        nn.Sigmoid,
    ]
)
"""modules whose output for a row depends on that row only, and not on the mode"""


def is_stateless(policy: SeparateNetworks) -> bool:
    """Check whether a policy surely computes each row by itself, and the same in training and evaluation mode.

    :param policy: the policy
    """
    return all(
        # an LSTM has its own dropout
        type(module) in STATELESS and not is_altered(module) and not getattr(module, "dropout", 0.0)
        for module in policy.modules()
    )
