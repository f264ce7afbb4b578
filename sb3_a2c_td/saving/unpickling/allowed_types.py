"""The names in the pickles of saved models that are resolved, as values or as calls; others are not even imported.

The lists contain all names that saved models of every kind need.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import nn

from sb3_a2c_td.optimizers import AdamTFLike
from sb3_a2c_td.policies.maskable import (
    MaskableCnnPolicy,
    MaskableMlpPolicy,
    MaskableMultiInputPolicy,
    SeparateMaskablePolicy,
)
from sb3_a2c_td.policies.minatar import MinAtarCnn, MinAtarPolicy
from sb3_a2c_td.policies.recurrent import (
    CnnLstmPolicy,
    MlpLstmPolicy,
    MultiInputLstmPolicy,
    SeparateRecurrentPolicy,
)
from sb3_a2c_td.policies.separate import CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy
from sb3_a2c_td.rollout.transitions import MaskedTransitions, RecurrentTransitions, Transitions
from sb3_a2c_td.saving.errors import NotAllowedError
from sb3_a2c_td.saving.unpickling import checked_calls
from sb3_a2c_td.saving.unpickling.tokens import Name, Token, name_of
from sb3_a2c_td.schedules import PowerLaw, RobbinsMonroSchedule
from sb3_a2c_td.vec_env.normalization import RunningNormalization


def _classes_in(module: ModuleType, base: type) -> Iterator[type]:
    return (thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, base))


# Values: settings that a pickle may name. The unpickler never calls them.

POLICIES = (
    SeparateActorCriticPolicy,
    MlpPolicy,
    CnnPolicy,
    MultiInputPolicy,
    MinAtarPolicy,
    SeparateMaskablePolicy,
    MaskableMlpPolicy,
    MaskableCnnPolicy,
    MaskableMultiInputPolicy,
    SeparateRecurrentPolicy,
    MlpLstmPolicy,
    CnnLstmPolicy,
    MultiInputLstmPolicy,
)
FEATURES_EXTRACTORS = (FlattenExtractor, NatureCNN, CombinedExtractor, MinAtarCnn)
OPTIMIZERS = (*_classes_in(th.optim, th.optim.Optimizer), AdamTFLike, RMSpropTFLike)
# activation functions among them
LAYERS = tuple(_classes_in(nn, nn.Module))
DTYPES = [dtype for dtype in vars(th).values() if isinstance(dtype, th.dtype)]

VALUES: dict[Name, Any] = {
    **{name_of(kind): kind for kind in (*POLICIES, *FEATURES_EXTRACTORS, *OPTIMIZERS, *LAYERS)},
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES},
}
"""settings that a pickle may name"""


# Calls: functions and classes that a pickle may call, and the functions that run instead.

TRANSITIONS = (Transitions, MaskedTransitions, RecurrentTransitions)
SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict)
NORMALIZATIONS = (RunningNormalization, RunningMeanStd)
SCHEDULES = (ConstantSchedule, LinearSchedule, FloatSchedule, PowerLaw, RobbinsMonroSchedule)
PATH_MODULES = ("pathlib", "pathlib._local")
"""the modules of path classes; the second one in Python 3.13"""

CALLS: dict[Name, Callable[..., Any]] = {
    # containers of episodes' returns and of observations
    ("collections", "deque"): checked_calls.make_deque,
    ("collections", "OrderedDict"): checked_calls.make_ordered_dict,
    # numbers and arrays, by the names of numpy 1 and 2
    ("builtins", "complex"): checked_calls.make_complex,
    ("numpy", "dtype"): checked_calls.make_dtype,
    ("numpy.core.numeric", "_frombuffer"): checked_calls.make_array,
    ("numpy._core.numeric", "_frombuffer"): checked_calls.make_array,
    ("numpy.core.multiarray", "_reconstruct"): checked_calls.make_empty_array,
    ("numpy._core.multiarray", "_reconstruct"): checked_calls.make_empty_array,
    ("numpy.core.multiarray", "scalar"): checked_calls.make_number,
    ("numpy._core.multiarray", "scalar"): checked_calls.make_number,
    # dates, decimals and paths, in infos of episodes and attributes of subclasses
    ("datetime", "date"): checked_calls.make_date,
    ("datetime", "datetime"): checked_calls.make_datetime,
    ("datetime", "time"): checked_calls.make_time,
    ("datetime", "timedelta"): checked_calls.make_timedelta,
    ("datetime", "timezone"): checked_calls.make_timezone,
    ("decimal", "Decimal"): checked_calls.make_decimal,
    **{(module, name): checked_calls.make_path(name) for module in PATH_MODULES for name in checked_calls.PATHS},
    # random number generators, in spaces that were seeded
    ("numpy.random._pickle", "__bit_generator_ctor"): checked_calls.make_bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): checked_calls.make_generator,
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): checked_calls.make_seed_sequence,
    # tensors among the attributes of subclasses
    ("torch", "device"): checked_calls.make_device,
    ("torch.storage", "_load_from_bytes"): checked_calls.make_storage,
    ("torch._utils", "_rebuild_tensor_v2"): checked_calls.make_tensor,
    # an unfinished rollout
    ("sb3_a2c_td.rollout.transitions", "TransitionBuffer"): checked_calls.make_buffer,
    **{name_of(kind): checked_calls.make_transitions(kind) for kind in TRANSITIONS},
    # without attributes yet
    **{name_of(kind): checked_calls.blank(kind) for kind in (*SPACES, *SCHEDULES, *NORMALIZATIONS)},
}
"""functions and classes that a pickle may call, and the function that runs instead"""

ARGUMENTS: frozenset[Name] = frozenset(
    {checked_calls.NDARRAY.name, checked_calls.PCG64_NAME.name, checked_calls.SEED_SEQUENCE.name}
)
"""classes that numpy's pickles name only as arguments of these functions"""


def find(module: str, name: str) -> Any:
    """Resolve a name from a pickle.

    :param module: the module, which is not imported
    :param name: the name in the module
    :return: the value, or a token for something that may be called
    :raises NotAllowedError: if it is not in the lists above
    """
    if (module, name) in VALUES:
        return VALUES[module, name]
    if (module, name) in CALLS or (module, name) in ARGUMENTS:
        return Token(module, name)
    raise NotAllowedError(f"{module}.{name}")
