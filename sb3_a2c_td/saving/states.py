"""What the pickles in a saved model may fill with a state, once they made it, and how it is checked."""

from collections import OrderedDict
from collections.abc import Callable
from types import NoneType
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import PCG64, SeedSequence
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_a2c_td.rollout.transitions import TransitionBuffer
from sb3_a2c_td.saving.allowed import KINDS_OF_TRANSITIONS, Refused, Token, check_array, require
from sb3_a2c_td.schedules import PowerLaw, RobbinsMonroSchedule

NUMBER = (int, float, np.integer, np.floating)
INTEGER = (int, np.integer)
LABEL = (str, NoneType)
GENERATOR = (np.random.Generator, NoneType)
SPACE: dict[str, tuple[type, ...]] = {"_shape": (tuple,), "dtype": (np.dtype,), "_np_random": GENERATOR}
BOUNDS: dict[str, tuple[type, ...]] = dict.fromkeys(("low", "high", "bounded_below", "bounded_above"), (np.ndarray,))

ATTRIBUTES: dict[type, dict[str, tuple[type, ...]]] = {
    ConstantSchedule: {"val": NUMBER},
    LinearSchedule: {"start": NUMBER, "end": NUMBER, "end_fraction": NUMBER},
    PowerLaw: {"a": NUMBER, "b": NUMBER, "power": NUMBER},
    RobbinsMonroSchedule: {"steps": (PowerLaw,), "total_timesteps": NUMBER},
    FloatSchedule: {"value_schedule": (ConstantSchedule, LinearSchedule, RobbinsMonroSchedule)},
    spaces.Box: {**SPACE, **BOUNDS, "low_repr": LABEL, "high_repr": LABEL},
    spaces.Discrete: {**SPACE, "n": INTEGER, "start": INTEGER},
    spaces.MultiDiscrete: {**SPACE, "nvec": (np.ndarray,), "start": (np.ndarray,)},
    spaces.MultiBinary: {**SPACE, "n": (int, tuple)},
    spaces.Dict: {
        **dict.fromkeys(SPACE, (NoneType,)),
        **{"_np_random": GENERATOR, "spaces": (dict, OrderedDict), "sort_keys": (bool,)},
    },
}
"""the attributes of each class, and of which types they are"""

NOT_IN_ALL_VERSIONS = frozenset({"sort_keys"})
"""attributes that a class has in newer versions of gymnasium"""


def fill(thing: Any, state: Any) -> None:
    """Put a thing into a state.

    :raises Refused: if pickles may not fill it
    :raises Exception: of many kinds, if the state is not one of such a thing
    """
    for kind, fill_kind in FILLS.items():
        if isinstance(thing, kind):
            return fill_kind(thing, state)
    raise Refused(f"a state for {thing if isinstance(thing, Token) else f'a {type(thing).__name__}'}")


def _fill_dtype(dtype: np.dtype[Any], state: Any) -> None:
    """Let numpy read a state that it would write: others could make elements reach beyond their array."""
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
    # an even one lets it give the same number for ever, and sampling from a space wait for another for ever
    require(numbers["state"]["inc"] % 2 == 1, "a generator that stands still")
    bit_generator.__setstate__(state)  # type: ignore[attr-defined]


def _fill_generator(generator: np.random.Generator, state: Any) -> None:
    _fill_bit_generator(generator.bit_generator, state)  # type: ignore[arg-type]


def _fill_seed_sequence(seed: SeedSequence, state: Any) -> None:
    """numpy's own code does not look at what it takes from here."""
    entropy, n_children, pool, pool_size, spawn_key = state
    parts = entropy if type(entropy) in (list, tuple) else (entropy or 0,)
    is_number = [type(n) is int and 0 <= n < 2**1024 for n in (*parts, *spawn_key, n_children)]
    require(type(spawn_key) is tuple and all(is_number) and n_children < 2**32, "a seed that is no number")
    require(type(pool) is np.ndarray and pool.dtype == np.uint32, "a seed without its pool")
    require(pool.shape == (pool_size,) == (4,), "a seed without its pool")
    seed.__setstate__(state)  # type: ignore[attr-defined]


def _fill_buffer(buffer: TransitionBuffer, state: Any) -> None:
    rows, n_steps = state["rows"], state["n_steps"]
    require(type(rows) in (*KINDS_OF_TRANSITIONS, NoneType) and type(n_steps) is int, "a buffer without transitions")
    require(n_steps >= (rows is not None), "a buffer without steps")
    # room for its rows only: the model makes room for an interval by itself
    capacity = 0 if rows is None else len(rows.rewards)
    buffer.__setstate__({"capacity": capacity, "n_steps": n_steps, "rows": rows})


def _fill_attributes(thing: Any, state: Any) -> None:
    """Set attributes, which :func:`check_attributes` checks when the pickle is read to its end."""
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

    A space's shapes must be those of its arrays, lest a few bytes ask for an array that fills the memory.

    :raises Refused: if it has other attributes than such things have
    """
    name, types = type(thing).__name__, ATTRIBUTES[type(thing)]
    attributes = vars(thing)
    if attributes.keys() | NOT_IN_ALL_VERSIONS != types.keys() | NOT_IN_ALL_VERSIONS:
        raise Refused(f"a {name} with other attributes than {', '.join(types)}")
    for attribute, value in attributes.items():
        if not isinstance(value, types[attribute]):
            raise Refused(f"a {name} whose {attribute} is a {type(value).__name__}")
    if not _is_consistent(thing):
        raise Refused(f"a {name} whose parts do not match")


def _is_consistent(thing: Any) -> bool:
    match thing:
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
