"""The transitions of one interval."""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, Self, cast

import numpy as np
import torch as th
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td.rollout.observations import ArrayT, Observations, map_arrays

_SHAPE_AND_DTYPE = attrgetter("shape", "dtype")


class Transitions(NamedTuple, Generic[ArrayT]):
    """Transitions ``(s, a, r, s', end)``, row by row, in numpy arrays or in tensors.

    A one-step method needs nothing else: the rows may come in any order and from any episode.
    """

    observations: ArrayT | dict[str, ArrayT]
    """``(N, *observation_shape)``, or a dict of such arrays"""
    actions: ArrayT
    """as the policy drew them, before clipping or unscaling: ``(N, *action_shape)``"""
    rewards: ArrayT
    """``(N,)`` float32, not scaled"""
    next_observations: ArrayT | dict[str, ArrayT]
    """like ``observations``; at an episode's end its true last observation, not the next episode's first"""
    terminated: ArrayT
    """bool ``(N,)``"""
    truncated: ArrayT
    """bool ``(N,)``"""

    @property
    def action_masks(self) -> None:
        """``None``: every action was allowed, see :class:`MaskedTransitions`."""
        return


class MaskedTransitions(NamedTuple, Generic[ArrayT]):
    """:class:`Transitions` of which some actions were not allowed."""

    observations: ArrayT | dict[str, ArrayT]
    actions: ArrayT
    rewards: ArrayT
    next_observations: ArrayT | dict[str, ArrayT]
    terminated: ArrayT
    truncated: ArrayT
    action_masks: ArrayT
    """which choices were allowed, bool ``(N, n_choices)``; those of the action's components one after another"""


class RecurrentTransitions(NamedTuple, Generic[ArrayT]):
    """:class:`Transitions` of a policy with a memory. The rows of one environment come in the order of time."""

    observations: ArrayT | dict[str, ArrayT]
    actions: ArrayT
    rewards: ArrayT
    next_observations: ArrayT | dict[str, ArrayT]
    terminated: ArrayT
    truncated: ArrayT
    env: ArrayT
    """the environment's number, ``(N,)`` int64"""
    episode_starts: ArrayT
    """whether the observation is the first of an episode, bool ``(N,)``"""
    lstm_states: ArrayT
    """the memory before the observation, ``(N, 4 * n_layers, hidden_size)`` float32, see
    :class:`~sb3_a2c_td.policies.recurrent.SeparateRecurrentPolicy`"""

    @property
    def action_masks(self) -> None:
        """``None``: every action was allowed."""
        return


class TransitionBuffer:
    """Holds the transitions of one interval, in arrays that are allocated once and then used again.

    The rows are flat: an environment step adds as many rows as there are transitions to keep, usually one for each
    environment, and a step's row can be left out without harm. The arrays are allocated when the first transitions
    arrive, with their shapes and dtypes: what an environment's wrappers return need not be what its space says
    (VecNormalize gives floats for a space of integers).

    :param capacity: the number of rows to make room for
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n_steps = 0
        """environment steps (of all environments together) since the last :meth:`reset`"""
        self.check: Callable[[Transitions[np.ndarray]], None] | None = None
        """is asked, and may raise, where transitions have other shapes or dtypes than those before; not pickled"""
        self._size = 0
        self._storage: Transitions[np.ndarray] | None = None
        self._storage_arrays: Sequence[np.ndarray] = []
        self._last_layout: list[Any] | None = None
        self._last_view: Transitions[np.ndarray] | None = None

    def __len__(self) -> int:
        return self._size

    def reset(self) -> None:
        """Forget every row; the arrays stay."""
        self.n_steps = 0
        self._size = 0

    def add(self, transitions: Transitions[np.ndarray]) -> None:
        """Copy the transitions of one environment step into the buffer.

        :param transitions: the rows to add, ``N`` of them; ``N`` may differ from call to call
        :raises ValueError: when there is no room for them, or when they do not match those already held
        """
        end = self._size + len(transitions.rewards)
        if end > self.capacity:
            raise ValueError(
                f"transitions: {end - self._size} rows were added to a buffer that holds {self._size} "
                f"of capacity={self.capacity}; train on them and reset() it first"
            )
        arrays, layout = _arrays_and_layout(transitions)
        if layout != self._last_layout:
            if self.check is not None:
                self.check(transitions)
            self._make_fit(transitions)
            self._last_layout = layout
        index = slice(self._size, end)
        for storage, rows in zip(self._storage_arrays, arrays):  # noqa: B905, as many in both
            storage[index] = rows
        # at once: Ctrl-C comes before or after
        self._size, self.n_steps = end, self.n_steps + 1

    def _make_fit(self, transitions: Transitions[np.ndarray]) -> None:
        n = len(transitions.rewards)
        storage = self._storage
        if storage is None or (self._size == 0 and not _fits(storage, transitions, n)):
            storage = type(transitions)._make(_allocate(rows, self.capacity) for rows in transitions)
        if not _fits(storage, transitions, n):
            raise ValueError(
                f"transitions: {n} rows of {_layout(transitions)} cannot join rows of {_layout(storage)}; "
                "if the environment changed, reset() the buffer first"
            )
        self._storage, self._storage_arrays, self._last_view = storage, _arrays_and_layout(storage)[0], None

    def transitions(self) -> Transitions[np.ndarray]:
        """Give the rows held so far, as views: the next :meth:`reset` and :meth:`add` overwrite them.

        :raises ValueError: when nothing was ever added
        """
        if self._storage is None:
            raise ValueError("transitions: nothing was added to this buffer yet")
        if self._last_view is None or len(self._last_view.rewards) != self._size:
            self._last_view = type(self._storage)._make(_read(storage, slice(self._size)) for storage in self._storage)
        return self._last_view

    def tensors(self, device: th.device) -> Transitions[th.Tensor]:
        """Give :meth:`transitions` as tensors; on the CPU they share its memory."""
        rows = self.transitions()
        return cast(Transitions[th.Tensor], type(rows)._make(obs_as_tensor(values, device) for values in rows))

    def successors(self) -> np.ndarray:
        """Give for each row the one that observes its next observation, ``(N,)``; -1 where none is found.

        Steps follow one another, so it is the row of the same environment one step on, unless an episode or the
        interval ended in between. The observations are compared, whatever the rows.
        """
        rows = self.transitions()
        per_step = math.ceil(len(self) / self.n_steps)
        later, earlier = slice(per_step, None), slice(len(self) - per_step)
        same = _equal_rows(_read(rows.observations, later), _read(rows.next_observations, earlier))
        successors = np.full(len(self), -1)
        successors[earlier][same] = np.arange(len(self))[later][same]
        return successors

    def continued(self, capacity: int) -> Self:
        """Give a new buffer that begins with this one's rows and steps and has room for ``capacity`` more rows."""
        buffer = type(self)(len(self) + capacity)
        if len(self) > 0:
            buffer.add(self.transitions())
        buffer.n_steps = self.n_steps
        return buffer

    def __getstate__(self) -> dict[str, Any]:
        # only the rows in use go into a saved model
        return {
            "capacity": self.capacity,
            "n_steps": self.n_steps,
            "rows": self.transitions() if len(self) > 0 else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["capacity"])  # type: ignore[misc]
        if state["rows"] is not None:
            self.add(state["rows"])
        self.n_steps = state["n_steps"]


def selected(transitions: Transitions[np.ndarray], rows: np.ndarray) -> Transitions[np.ndarray]:
    """Copy some of the rows.

    :param transitions: ``N`` rows
    :param rows: their indices, from 0 to ``N - 1``
    """
    return type(transitions)._make(map_arrays(lambda array: array.take(rows, axis=0), values) for values in transitions)


def _arrays_and_layout(transitions: Transitions[np.ndarray]) -> tuple[Sequence[np.ndarray], list[Any]]:
    """List the arrays of transitions, those of a dict in the order of its keys, and their shapes, dtypes and keys."""
    try:
        return cast(Sequence[np.ndarray], transitions), list(map(_SHAPE_AND_DTYPE, transitions))
    except AttributeError:  # a dict
        arrays: list[np.ndarray] = []
        keys: list[str] = []
        for rows in transitions:
            arrays += [rows[key] for key in sorted(rows)] if isinstance(rows, dict) else [rows]
            keys += [*sorted(rows), ""] if isinstance(rows, dict) else [""]
        return arrays, [*map(_SHAPE_AND_DTYPE, arrays), *keys]


def _allocate(rows: Any, capacity: int) -> Any:
    if isinstance(rows, dict):
        return {key: _allocate(values, capacity) for key, values in rows.items()}
    # images that SB3 transposed keep their channels last in memory, where convolutions are faster
    return np.empty_like(rows, shape=(capacity, *rows.shape[1:]), order="K" if rows.ndim == 4 else "C")


def _fits(storage: Any, rows: Any, n: int) -> bool:
    """Say whether numpy would write ``n`` rows without broadcasting them or turning floats into integers."""
    if isinstance(rows, tuple):
        return all(_fits(*pair, n) for pair in zip(storage, rows, strict=True))
    if isinstance(rows, dict) != isinstance(storage, dict):
        return False
    if isinstance(rows, dict):
        return storage.keys() == rows.keys() and all(_fits(storage[key], values, n) for key, values in rows.items())
    return rows.shape == (n, *storage.shape[1:]) and np.can_cast(rows.dtype, storage.dtype, "same_kind")


def _layout(rows: Any) -> Any:
    """Sum up the shapes and dtypes of transitions for an error."""
    if isinstance(rows, tuple):
        return {name: _layout(values) for name, values in rows._asdict().items()}  # type: ignore[attr-defined]
    if isinstance(rows, dict):
        return {key: _layout(values) for key, values in rows.items()}
    return f"{rows.dtype}{list(rows.shape[1:])}"


def _read(storage: Observations, index: slice) -> Any:
    return map_arrays(lambda array: array[index], storage)


def _equal_rows(first: Observations, second: Any) -> np.ndarray:
    """Compare observations row by row: bool ``(N,)``."""
    pairs = [(first[key], second[key]) for key in first] if isinstance(first, dict) else [(first, second)]
    equal: np.ndarray = np.logical_and.reduce([(a == b).all(axis=tuple(range(1, a.ndim))) for a, b in pairs])
    return equal
