"""Checks of what environments return; each error names the value, the environment and the step."""

from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium import spaces
from torch import nn

from sb3_a2c_td.rollout.observations import named_arrays
from sb3_a2c_td.rollout.transitions import Transitions

BASIC_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
NUMERIC_KINDS = "biuf"
"""kinds of numeric dtypes: booleans, integers and floats"""
FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_MAX_SQUARED = FLOAT32_MAX**2
STOPPED = "training stopped, and the weights are those of the last update."
FIX_ENVIRONMENT = f"{STOPPED} Fix the environment"
"""end of the errors about what an environment returned"""


def check_spaces(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Check that TDA2C supports an environment with these spaces.

    :raises ValueError: for an unsupported kind of space, discrete spaces that do not start at 0 or have several axes,
        boxes without an axis, and action boxes without bounds
    """
    _check_kind("observation_space", observation_space, (*BASIC_SPACES, spaces.Dict))
    if isinstance(observation_space, spaces.Dict):
        if not observation_space.spaces:
            raise ValueError("observation_space=Dict() is empty: return something to learn from")
        for key, subspace in observation_space.spaces.items():
            _check_key(key)
            _check_kind(f"observation_space[{key!r}]", subspace, BASIC_SPACES)
    _check_kind("action_space", action_space, BASIC_SPACES)
    if isinstance(action_space, spaces.MultiBinary) and len(action_space.shape) > 1:
        raise ValueError(f"action_space={action_space} must have one axis; flatten it with a gymnasium wrapper")
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise ValueError(
            f"action_space={action_space}: the bounds of a continuous action must be finite; set them with "
            "gymnasium.wrappers.TransformAction(env, lambda action: action, Box(low, high, shape))"
        )


def _check_key(key: Any) -> None:
    # CombinedExtractor puts a module for each key into a ModuleDict
    if not isinstance(key, str) or key == "" or "." in key or hasattr(nn.ModuleDict(), key):
        raise ValueError(
            f"observation_space has the key {key!r}: rename it, since PyTorch's ModuleDict takes only strings without "
            "dots that differ from its own attributes"
        )


def _check_kind(name: str, space: spaces.Space[Any], supported: tuple[type[spaces.Space[Any]], ...]) -> None:
    if not isinstance(space, supported):
        names = ", ".join(kind.__name__ for kind in supported)
        raise ValueError(f"{name}={space} is not supported: use one of {names}")
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start):
        raise ValueError(f"{name}={space} must start at 0; shift it with a gymnasium wrapper")
    if isinstance(space, spaces.Box) and space.shape == ():
        raise ValueError(f"{name}={space} must have an axis; reshape it to (1,) with a gymnasium wrapper")
    if 0 in (space.shape or ()):
        raise ValueError(f"{name}={space} has no numbers: give the environment a space with some")
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim > 1:
        raise ValueError(f"{name}={space} must have one axis; flatten it with a gymnasium wrapper")


def check_finite(step: int, **values: Any) -> None:
    """Check that what environments returned is finite and within the range of float32.

    :param step: the number of environment steps taken so far
    :param values: by their names in errors: arrays ``(n_envs, ...)``, or dicts of such arrays
    :raises ValueError: for NaN, infinity and values beyond float32, naming the environment and the step; for what is
        not numeric
    """
    for name, value in values.items():
        if isinstance(value, dict):
            check_finite(step, **dict(named_arrays(name, value)))
        elif value.dtype.kind == "f":
            # the sum of squares takes a third of the time of checking each number, but may overflow
            if not float(np.vdot(value, value)) <= FLOAT32_MAX_SQUARED:
                _check_each_number(step, name, value)
        elif value.dtype.kind not in NUMERIC_KINDS:
            raise ValueError(
                f"{name}={value} at step {step} (one row for each environment) has the dtype {value.dtype}, which is "
                f"not numeric: {FIX_ENVIRONMENT}."
            )


def _check_each_number(step: int, name: str, value: np.ndarray) -> None:
    is_valid = _are_valid(value)
    if not is_valid.all():
        env = int(np.argwhere(~is_valid)[0, 0])
        raise ValueError(number_fault(step, name, value[env], env))


def _are_valid(value: np.ndarray) -> np.ndarray:
    # in float64, since the bound overflows float16
    return np.asarray(np.abs(value, dtype=np.float64) <= FLOAT32_MAX)


def number_fault(step: int, name: str, value: Any, env: int) -> str | None:
    """Describe why what one environment returned is not finite or not within the range of float32.

    :param step: the number of environment steps taken so far
    :param name: the name of the value in errors
    :param value: a number or an array, of any dtype
    :param env: the index of the environment
    :return: the fault, or ``None`` if there is none
    """
    array = np.asarray(value)
    is_numeric = array.dtype.kind in NUMERIC_KINDS
    if is_numeric and (array.dtype.kind != "f" or _are_valid(array).all()):
        return None
    # text of large arrays takes long
    where = f"{name}={array} of environment {env} at step {step}"
    if not is_numeric:
        return f"{where} has the dtype {array.dtype}, which is not numeric: {FIX_ENVIRONMENT}."
    fault = "beyond the range of float32" if np.isfinite(array).all() else "not finite"
    return f"{where} is {fault}: {FIX_ENVIRONMENT} (VecCheckNan helps to find the fault)."


def mismatch(space: spaces.Space[Any], observation: Any, n_envs: tuple[int, ...] = ()) -> str | None:
    """Describe how an observation differs from its space.

    Any numeric dtype matches: ``VecNormalize`` returns floats for a space of integers.

    :param space: the observation space
    :param observation: an observation, or those of several environments
    :param n_envs: ``(n_envs,)`` for observations of several environments
    :return: the difference, or ``None`` if the observation matches
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, dict) or not space.spaces.keys() <= observation.keys():
            found = set(observation) if isinstance(observation, dict) else type(observation).__name__
            return f"expected a dict of {set(space.spaces)}, got {found}"
        differences = {key: mismatch(subspace, observation[key], n_envs) for key, subspace in space.spaces.items()}
        return next((f"[{key!r}] {text}" for key, text in differences.items() if text is not None), None)
    shape = (*n_envs, *cast(tuple[int, ...], space.shape))
    try:
        array = np.asarray(observation)
    except ValueError:
        return f"expected numbers of shape {shape}, got {observation!r}"
    if array.shape == shape and array.dtype.kind in NUMERIC_KINDS:
        return None
    return f"expected numbers of shape {shape}, got {array.dtype} of shape {array.shape}"


class RowFormat(NamedTuple):
    """The format of one field of transitions."""

    shape: tuple[int, ...]
    """the shape of one row"""
    kinds: str
    """the kinds of dtype that it may have"""
    space: spaces.Space[Any] | None = None
    """the space that it is in, for discrete ones"""


def action_format(action_space: spaces.Space[Any]) -> RowFormat:
    """Return the format of actions as policies draw them.

    :param action_space: the action space
    """
    is_integer = isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete)
    return RowFormat(cast(tuple[int, ...], action_space.shape), "iu" if is_integer else NUMERIC_KINDS, action_space)


def row_mismatch(
    rows: Transitions[np.ndarray],
    observation_space: spaces.Space[Any],
    formats: dict[str, RowFormat],
) -> str | None:
    """Describe how transitions from a file differ from those that a model collects.

    :param rows: the transitions
    :param observation_space: the model's observation space
    :param formats: the formats of all fields other than observations, by name
    :return: the difference, or ``None`` if the transitions match
    """
    n = len(rows.rewards)
    for name, values in rows._asdict().items():
        if name in formats:
            difference = _field_mismatch(values, n, formats[name])
        else:
            difference = _keys_mismatch(observation_space, values) or mismatch(observation_space, values, (n,))
        if difference is None and not all(np.isfinite(array).all() for _, array in named_arrays(name, values)):
            difference = "numbers that are not finite"
        if difference is None:
            space = formats[name].space if name in formats else observation_space
            difference = _range_mismatch(space, values)
        if difference is not None:
            return f"{name}: {difference}"
    return None


def _range_mismatch(space: spaces.Space[Any] | None, values: Any) -> str | None:
    """Describe which numbers of a discrete space do not exist. Environments may exceed the bounds of a box."""
    match space:
        case spaces.Dict():
            differences = (_range_mismatch(subspace, values[key]) for key, subspace in space.spaces.items())
            return next((text for text in differences if text is not None), None)
        case spaces.Discrete():
            n_choices: Any = space.n
        case spaces.MultiDiscrete():
            n_choices = space.nvec
        case spaces.MultiBinary():
            n_choices = 2
        case _:
            return None
    is_valid = (values >= 0) & (values < n_choices) & (values == np.floor(values))
    return None if is_valid.all() else f"some are not in {space}"


def _field_mismatch(values: Any, n: int, field: RowFormat) -> str | None:
    if isinstance(values, np.ndarray) and values.shape == (n, *field.shape) and values.dtype.kind in field.kinds:
        return None
    found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "a dict"
    return f"expected shape {(n, *field.shape)} and a dtype of kind {' or '.join(field.kinds)}, got {found}"


def _keys_mismatch(space: spaces.Space[Any], observations: Any) -> str | None:
    if isinstance(space, spaces.Dict) and isinstance(observations, dict) and observations.keys() != space.keys():
        return f"expected the keys {set(space.keys())}, got {set(observations)}"
    return None


def check_shapes(step: int, n_envs: int, space: spaces.Space[Any], observations: Any, **numbers: np.ndarray) -> None:
    """Check the shapes of what environments returned.

    :param step: the number of environment steps taken so far
    :param n_envs: the number of environments
    :param space: the observation space
    :param observations: ``(n_envs, *observation_shape)``, or a dict of such arrays
    :param numbers: arrays ``(n_envs,)`` by their names in errors
    :raises ValueError: if shapes differ, or observations are not numeric, naming the step
    """
    differences = {"observations": mismatch(space, observations, (n_envs,))}
    differences |= {
        name: f"expected shape {(n_envs,)}, got shape {array.shape}"
        for name, array in numbers.items()
        if array.shape != (n_envs,)
    }
    for name, difference in differences.items():
        if difference is not None:
            raise ValueError(f"{name} of {n_envs} environment(s) at step {step}: {difference}; {FIX_ENVIRONMENT}.")


def check_episode(episode: Any) -> None:
    """Check what an info reports about an ended episode.

    :param episode: the value of ``info["episode"]``
    :raises ValueError: if it is not a dict with the return ``"r"`` and the length ``"l"``
    """
    if not (isinstance(episode, dict) and episode.keys() >= {"r", "l"}):
        raise ValueError(
            f"info['episode']={episode!r}: Monitor writes the return 'r' and the length 'l' of an ended episode there; "
            "use another key in the environment"
        )
