"""A compiled environment: two or three functions that numba compiles, and a few facts."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_a2c_td.arguments import check_at_least_one

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class CompiledEnv:
    """An environment whose functions numba compiles, so that all copies are stepped in one compiled call.

    The functions are plain Python in the part of the language that numba supports; functions that they call need
    ``numba.njit``. They keep everything that they need to know between steps in the state. ``rng`` is the
    ``numpy.random.Generator`` of the environment, and the only source of chance. Check an environment with
    :func:`~sb3_a2c_td.compiled.check_compiled_env`, since compiled code reads and writes without checks.

    :param observation_space: a ``Box`` of float32 vectors, or ``Discrete``
    :param action_space: ``Discrete``, or a ``Box`` of float32 vectors
    :param state_size: how many numbers the state has
    :param reset: ``reset(state, rng)`` fills the state, ``(state_size,)``, at the start of an episode
    :param step: ``step(state, action, rng)`` changes the state in place and returns ``(reward, terminated)``. The
        action is an int64, or a float32 vector
    :param observe: ``observe(state, out)`` fills the observation, a float32 vector; for ``Discrete`` an int64 vector of
        one number. By default it copies the state
    :param max_episode_steps: steps until an episode is truncated; ``None`` for no limit
    :param state_dtype: the dtype of the state
    :param render: ``render(state)`` returns a picture, uint8 ``(height, width, 3)``. It is ordinary Python
    :raises ValueError: if an argument is invalid
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    state_size: int
    reset: Function
    step: Function
    observe: Function | None = None
    max_episode_steps: int | None = None
    state_dtype: npt.DTypeLike = np.float64
    render: Function | None = None

    def __post_init__(self) -> None:
        _check_space("observation_space", self.observation_space)
        _check_space("action_space", self.action_space)
        check_at_least_one("state_size", self.state_size)
        if self.max_episode_steps is not None:
            check_at_least_one("max_episode_steps", self.max_episode_steps)
        for name in ("reset", "step"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name} must be a function, got {getattr(self, name)!r}")
        dtype = np.dtype(self.state_dtype)
        if dtype.kind not in "iuf" or dtype in (np.float16, np.longdouble) or not dtype.isnative:
            raise ValueError(f"state_dtype must be a native integer, float32 or float64, got {self.state_dtype!r}")
        if self.observe is None and self.state_size != width(self.observation_space):
            raise ValueError(
                f"observe: without it, observations are states, of {self.state_size} numbers; those of "
                f"{self.observation_space} have {width(self.observation_space)}. Write a function observe(state, out)."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledEnv":
        # nothing in it changes, and what was compiled for it belongs to this object
        return self


def check_no_options(options: dict[str, Any] | None) -> None:
    """Check that ``reset`` got no options: compiled functions take none.

    :param options: the options; ``None`` or empty are valid
    :raises ValueError: if there are any
    """
    if options:
        raise ValueError(f"options={options!r}: compiled environments take no options of reset; leave them out")


def copied_spaces(env: CompiledEnv) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Return copies of the spaces of observations and actions, since the random generator of a space is not shared.

    :param env: the environment
    """
    return deepcopy(env.observation_space), deepcopy(env.action_space)


def render_modes(env: CompiledEnv) -> list[str]:
    """Return the render modes of an environment: ``"rgb_array"`` if it has a function ``render``.

    :param env: the environment
    """
    return [] if env.render is None else ["rgb_array"]


def check_render_mode(env: CompiledEnv, render_mode: str | None) -> None:
    """Check that an environment has pictures if they are asked for.

    :param env: the environment
    :param render_mode: the render mode
    :raises ValueError: if it is unknown
    :raises TypeError: if the environment draws nothing
    """
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
    if render_mode is not None and env.render is None:
        # after a TypeError, SB3 makes an environment without a render mode
        raise TypeError(f"render_mode={render_mode!r} needs CompiledEnv(render=...)")


def width(space: spaces.Space[Any]) -> int:
    """Return how many numbers an observation or action has.

    :param space: its space
    """
    assert space.shape is not None
    return int(np.prod(space.shape, dtype=np.int64))


def compiled_dtype(space: spaces.Space[Any]) -> type[np.int64] | type[np.float32]:
    """Return the dtype of observations or actions in compiled code, whatever integers the space has.

    :param space: their space
    """
    return np.int64 if isinstance(space, spaces.Discrete) else np.float32


def _check_space(name: str, space: spaces.Space[Any]) -> None:
    is_vector = isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype == np.float32
    is_choice = isinstance(space, spaces.Discrete) and space.start == 0
    if not is_vector and not is_choice:
        raise ValueError(f"{name} must be Discrete from 0 on, or a Box of vectors in float32, got {space}")
