"""Reads the states of environments as plain data, and restores environments from them.

Gymnasium has no interface for this. Most environments are plain Python objects, whose attributes can be read.
"""

from typing import Any, NamedTuple, cast

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sb3_a2c_td.saving.object_states import CannotRestoreError, Reader, Writer
from sb3_a2c_td.saving.object_states.format import NOTHING, State, class_name


class LayerState(NamedTuple):
    """The state of environments, or of one of SB3's wrappers around them."""

    state: State | None
    """plain data; ``None`` if it cannot be read"""
    reason: str | None
    """why it cannot be read"""


def states_of(env: VecEnv) -> list[LayerState]:
    """Read the states of environments and of SB3's wrappers around them, such as the statistics of ``VecNormalize``.

    :param env: the environments
    :return: the states of the wrappers, from the outside in, and then that of the environments
    """
    return [_state_of(layer) for layer in _layers(env)]


def restore(env: VecEnv, states: list[LayerState]) -> str | None:
    """Put environments and SB3's wrappers around them into the states that :func:`states_of` read.

    :param env: environments created like those that were read, and reset
    :param states: the states
    :return: ``None``, or the reason why not all of them were restored: then reset the environments
    :raises ValueError: if the wrappers are other ones
    """
    *wrappers, base = _layers(env)
    if len(wrappers) != len(states) - 1:
        raise ValueError(
            f"env has {len(wrappers)} of SB3's wrappers, and had {len(states) - 1} when the model was saved: "
            "wrap it as it was"
        )
    for layer, saved in zip(wrappers, states[:-1], strict=True):
        if saved.state is not None:
            _write(layer, saved.state)
    for layer, saved in zip((*wrappers, base), states, strict=True):
        if saved.state is None:
            return f"the state of {class_name(layer)} was not saved: {saved.reason}"
    try:
        _write(base, cast(State, states[-1].state))
    except CannotRestoreError as error:
        return str(error)
    return None


def _state_of(layer: VecEnv) -> LayerState:
    inner = layer.venv if isinstance(layer, VecEnvWrapper) else NOTHING
    try:
        return LayerState(Reader(excluded=inner).read(layer, class_name(layer)), None)
    except CannotRestoreError as error:
        return LayerState(None, str(error))
    # a model can be saved whatever the objects of an environment raise when their attributes are read
    except Exception as error:
        return LayerState(None, f"{class_name(layer)} raises {type(error).__name__} when it is read")


def _write(layer: VecEnv, state: State) -> None:
    Writer().write(state, layer, class_name(layer))


def _layers(env: VecEnv) -> list[Any]:
    layers = [env]
    while isinstance(layers[-1], VecEnvWrapper):
        layers.append(layers[-1].venv)
    return layers
