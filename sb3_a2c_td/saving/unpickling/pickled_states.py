"""The objects that a pickle may fill with a state, and the checks of these states.

Spaces, schedules and running statistics are filled with attributes, which :func:`check_attributes` compares with
``ATTRIBUTES``.
"""

from collections import OrderedDict
from collections.abc import Callable
from types import NoneType
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.box import array_short_repr
from numpy.random import PCG64, SeedSequence
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.errors import NotAllowedError, require
from sb3_a2c_td.saving.unpickling.allowed_types import TRANSITIONS
from sb3_a2c_td.saving.unpickling.checked_calls import check_array
from sb3_a2c_td.saving.unpickling.tokens import Token
from sb3_a2c_td.schedules import PowerLaw, RobbinsMonroSchedule
from sb3_a2c_td.vec_env.normalization import RunningNormalization, are_valid_statistics

Types = tuple[type, ...]

INTEGER = (int, np.integer)
NUMBER = (*INTEGER, float, np.floating)
ARRAY: Types = (np.ndarray,)
ARRAY_OR_NUMBER: Types = (np.ndarray, np.floating)
LABEL: Types = (str, NoneType)
GENERATOR: Types = (np.random.Generator, NoneType)
SPACE: dict[str, Types] = {"_shape": (tuple,), "dtype": (np.dtype,), "_np_random": GENERATOR}

ATTRIBUTES: dict[type, dict[str, Types]] = {
    ConstantSchedule: {"val": NUMBER},
    LinearSchedule: {"start": NUMBER, "end": NUMBER, "end_fraction": NUMBER},
    PowerLaw: {"a": NUMBER, "b": NUMBER, "power": NUMBER},
    RobbinsMonroSchedule: {"steps": (PowerLaw,), "total_timesteps": NUMBER},
    FloatSchedule: {"value_schedule": (ConstantSchedule, LinearSchedule, RobbinsMonroSchedule)},
    RunningMeanStd: {"mean": ARRAY_OR_NUMBER, "var": ARRAY_OR_NUMBER, "count": NUMBER},
    RunningNormalization: {
        "obs_rms": (dict,),
        "ret_rms": (RunningMeanStd,),
        **dict.fromkeys(("gamma", "clip_obs", "clip_reward", "epsilon"), NUMBER),
        "training": (bool,),
    },
    spaces.Box: {
        **SPACE,
        "low": ARRAY,
        "high": ARRAY,
        "bounded_below": ARRAY,
        "bounded_above": ARRAY,
        "low_repr": LABEL,
        "high_repr": LABEL,
    },
    spaces.Discrete: {**SPACE, "n": INTEGER, "start": INTEGER},
    spaces.MultiDiscrete: {**SPACE, "nvec": ARRAY, "start": ARRAY},
    spaces.MultiBinary: {**SPACE, "n": (int, tuple)},
    spaces.Dict: {
        "_shape": (NoneType,),
        "dtype": (NoneType,),
        "_np_random": GENERATOR,
        "spaces": (dict, OrderedDict),
        "sort_keys": (bool,),
    },
}
"""the attributes of each class, and their types"""

NOT_IN_ALL_VERSIONS = frozenset({"sort_keys", "training"})
"""attributes that only newer versions of gymnasium, and of this package, have"""

LABELS_WHEN_SHOWN = spaces.Box(0, 1).low_repr is None
"""whether boxes make these texts when they are printed, as in newer versions: a file can hold very many boxes"""

MAX_BITS = 64
"""maximum size of an integer: Python refuses to print much larger ones, and they are no numbers of models"""
ENTROPY_LIMIT = 2**1024
N_CHILDREN_LIMIT = 2**32
POOL_SIZE = 4
"""numpy's own default, by which it reads the pool"""


def fill(thing: Any, state: Any) -> None:
    """Fill an object with a state.

    :param thing: the object
    :param state: the state from the pickle
    :raises NotAllowedError: if pickles may not fill such objects
    :raises Exception: of many kinds, if the state does not fit
    """
    for kind, fill_kind in FILLS.items():
        if isinstance(thing, kind):
            return fill_kind(thing, state)
    name = str(thing) if isinstance(thing, Token) else f"a {type(thing).__name__}"
    raise NotAllowedError(f"a state for {name}")


def _fill_dtype(dtype: np.dtype[Any], state: Any) -> None:
    """Accept only states that numpy writes: with others, elements could reach beyond their array."""
    require(type(state) is tuple and len(state) == 8 and state[1] in ("<", ">", "|"), "a dtype without a byte order")
    require(state == dtype.newbyteorder(state[1]).__reduce__()[2], "a dtype with more than a byte order")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _fill_array(array: np.ndarray, state: Any) -> None:
    _, shape, dtype, _, content = state
    require(array.size == 0 and array.base is None and type(content) is bytes, "an array filled twice")
    check_array(content, dtype, shape)
    array.__setstate__(state)


def _fill_bit_generator(bit_generator: PCG64, state: Any) -> None:
    numbers, seed = state if type(state) is tuple else (state, None)
    require(type(numbers) is dict and type(seed) in (SeedSequence, NoneType), "a generator without a state")
    # with an even increment, a generator repeats one number, and sampling from a space never ends
    require(numbers["state"]["inc"] % 2 == 1, "a generator that repeats one number")
    bit_generator.__setstate__(state)  # type: ignore[attr-defined]


def _fill_generator(generator: np.random.Generator, state: Any) -> None:
    _fill_bit_generator(generator.bit_generator, state)  # type: ignore[arg-type]


def _fill_seed_sequence(seed: SeedSequence, state: Any) -> None:
    """Check a state, which numpy itself does not."""
    entropy, n_children, pool, pool_size, spawn_key = state
    parts = entropy if type(entropy) in (list, tuple) else (entropy or 0,)
    numbers = (*parts, *spawn_key, n_children)
    are_numbers = all(type(n) is int and 0 <= n < ENTROPY_LIMIT for n in numbers)
    require(type(spawn_key) is tuple and are_numbers and n_children < N_CHILDREN_LIMIT, "a seed that is not a number")
    require(type(pool) is np.ndarray and pool.dtype == np.uint32, "a seed without its pool")
    require(pool.shape == (POOL_SIZE,) and pool_size == POOL_SIZE, "a seed without its pool")
    seed.__setstate__(state)  # type: ignore[attr-defined]


def _fill_buffer(buffer: TransitionBuffer, state: Any) -> None:
    rows, n_steps = state["rows"], state["n_steps"]
    require(type(rows) in (*TRANSITIONS, NoneType) and type(n_steps) is int, "a buffer without transitions")
    require(n_steps >= (0 if rows is None else 1), "a buffer without steps")
    # the saved capacity could fill the memory; the model enlarges the buffer to a rollout by itself
    capacity = 0 if rows is None else len(rows.rewards)
    buffer.__setstate__({"capacity": capacity, "n_steps": n_steps, "rows": rows})


def _fill_attributes(thing: Any, state: Any) -> None:
    """Set attributes. :func:`check_attributes` checks them at the end of the pickle, since they can still change."""
    require(type(state) is dict, "attributes without names")
    vars(thing).update(state)


FILLS: dict[type, Callable[[Any, Any], None]] = {
    np.dtype: _fill_dtype,
    np.ndarray: _fill_array,
    PCG64: _fill_bit_generator,
    np.random.Generator: _fill_generator,
    SeedSequence: _fill_seed_sequence,
    TransitionBuffer: _fill_buffer,
    **dict.fromkeys(ATTRIBUTES, _fill_attributes),
}


def check_attributes(thing: Any) -> None:
    """Check the attributes of an instance of a class in ``ATTRIBUTES``.

    A space's shape must be that of its arrays; otherwise, a few bytes could ask for an array that fills the memory.

    :param thing: the instance
    :raises NotAllowedError: if an attribute is missing, unknown, of another type, or does not match the others
    """
    name, types = type(thing).__name__, ATTRIBUTES[type(thing)]
    attributes = vars(thing)
    if attributes.keys() | NOT_IN_ALL_VERSIONS != types.keys() | NOT_IN_ALL_VERSIONS:
        raise NotAllowedError(f"a {name} with other attributes than {', '.join(types)}")
    for attribute, value in attributes.items():
        if not isinstance(value, types[attribute]):
            raise NotAllowedError(f"a {name} whose {attribute} is a {type(value).__name__}")
        if is_huge(value):
            raise NotAllowedError(f"a {name} whose {attribute} is a huge integer")
    if not _is_consistent(thing):
        raise NotAllowedError(f"a {name} whose parts do not match")
    if isinstance(thing, spaces.Box):
        _relabel(thing)


def is_huge(value: Any) -> bool:
    """Check whether a value is a larger integer than models have.

    :param value: the value, of any type
    """
    return isinstance(value, int) and value.bit_length() > MAX_BITS


def _relabel(box: spaces.Box) -> None:
    """Replace the texts that a box prints in place of its bounds, which may be any."""
    for label, bound in (("low_repr", box.low), ("high_repr", box.high)):
        if getattr(box, label) is not None:
            setattr(box, label, None if LABELS_WHEN_SHOWN else array_short_repr(bound))


def _is_consistent(thing: Any) -> bool:
    match thing:
        case RunningMeanStd():
            return are_valid_statistics(thing)
        case RunningNormalization():
            return all(isinstance(rms, RunningMeanStd) for rms in thing.obs_rms.values()) and thing.fault is None
        case spaces.Box():
            return bool(thing.low.shape == thing.high.shape == thing._shape)
        case spaces.Discrete():
            return thing._shape == ()
        case spaces.MultiDiscrete():
            return bool(thing.nvec.shape == thing.start.shape == thing._shape)
        case spaces.MultiBinary():
            return thing._shape == (thing.n if isinstance(thing.n, tuple) else (thing.n,))
        case spaces.Dict():
            return all(isinstance(space, spaces.Space) for space in thing.spaces.values())
    return True
