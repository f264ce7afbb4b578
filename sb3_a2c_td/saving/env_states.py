"""States of environments as plain data, and environments put back into them.

Gymnasium has no interface for it, so this reads what most environments are: Python objects.
"""

from typing import Any, NamedTuple, cast

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sb3_a2c_td.saving.object_states import NOTHING, CannotRestoreError, Reader, State, Writer, name_of


class LayerState(NamedTuple):
    """The state of environments, or of one of SB3's wrappers around them."""

    state: State | None
    """plain data; ``None``: it cannot be read"""
    reason: str | None
    """why it cannot"""


def states_of(env: VecEnv) -> list[LayerState]:
    """Read the state of environments and of SB3's wrappers around them (the statistics of ``VecNormalize``, say).

    :param env: the environments
    :return: the wrappers' states, from the outside in, and then that of the environments
    """
    return [_state_of(layer) for layer in _layers(env)]


def restore(env: VecEnv, states: list[LayerState]) -> str | None:
    """Put environments and SB3's wrappers around them into the states that :func:`states_of` read.

    :param env: environments made like those, and reset
    :param states: their states
    :return: ``None``, or why not all of them were restored: the environments must then be reset
    :raises ValueError: if there are other wrappers now
    """
    *wrappers, base = _layers(env)
    if len(wrappers) != len(states) - 1:
        raise ValueError(
            f"env has {len(wrappers)} of SB3's wrappers, and had {len(states) - 1} where the model was saved: "
            "wrap it as it was"
        )
    for layer, saved in zip(wrappers, states, strict=False):
        if saved.state is not None:
            _write(layer, saved.state)
    for layer, saved in zip((*wrappers, base), states, strict=True):
        if saved.state is None:
            return f"{name_of(layer)} was not saved whole: {saved.reason}"
    try:
        _write(base, cast(State, states[-1].state))
    except CannotRestoreError as error:
        return str(error)
    return None


def _state_of(layer: VecEnv) -> LayerState:
    beyond = layer.venv if isinstance(layer, VecEnvWrapper) else NOTHING
    try:
        return LayerState(Reader(beyond).read(layer, name_of(layer)), None)
    except CannotRestoreError as error:
        return LayerState(None, str(error))
    # whatever an environment's own objects do when they are looked at, its model can be saved
    except Exception as error:
        return LayerState(None, f"{name_of(layer)} raises {type(error).__name__} when it is read")


def _write(layer: VecEnv, state: State) -> None:
    Writer().written(state, layer, name_of(layer))


def _layers(env: VecEnv) -> list[Any]:
    layers = [env]
    while isinstance(layers[-1], VecEnvWrapper):
        layers.append(layers[-1].venv)
    return layers
