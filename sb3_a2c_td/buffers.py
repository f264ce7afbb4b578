"""The transitions of one interval."""

from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

import numpy as np
import torch as th
from stable_baselines3.common.utils import obs_as_tensor

Observations = np.ndarray | dict[str, np.ndarray]
ArrayT = TypeVar("ArrayT", np.ndarray, th.Tensor)


class Transitions(NamedTuple, Generic[ArrayT]):
    """Transitions ``(s, a, r, s', end)``, row by row, in numpy arrays or in tensors.

    A one-step method needs nothing else: the rows may come in any order and from any episode.
    """

    observations: ArrayT | dict[str, ArrayT]
    """``(N, *observation_shape)``, or a dict of such arrays"""
    actions: ArrayT
    """as the policy drew them, before clipping or unscaling: ``(N, *action_shape)``"""
    rewards: ArrayT
    """``(N,)``, as the environment gave them"""
    next_observations: ArrayT | dict[str, ArrayT]
    """like ``observations``; at an episode's end its true last observation, not the next episode's first"""
    terminated: ArrayT
    """bool ``(N,)``"""
    truncated: ArrayT
    """bool ``(N,)``"""


class TransitionBuffer:
    """Holds the transitions of one interval, in arrays that are allocated once and then used again.

    The rows are flat: an environment step adds as many rows as there are transitions to keep, usually one for each
    environment, and a step's row can be left out without harm. The arrays are allocated when the first transitions
    arrive, with their shapes and dtypes: what an environment's wrappers return need not be what its space says
    (VecNormalize gives floats for a space of integers). All rows must be of these.

    :param capacity: the number of rows to make room for
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n_steps = 0
        """environment steps (of all environments together) since the last :meth:`reset`"""
        self._size = 0
        self._storage: Transitions[np.ndarray] | None = None
        self._is_checked = False

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
        begin, end = self._size, self._size + len(transitions.rewards)
        if end > self.capacity:
            raise ValueError(
                f"transitions: {end - begin} rows were added to a buffer that holds {begin} "
                f"of capacity={self.capacity}; train on them and reset() it first"
            )
        if not self._is_checked:
            self._storage = self._storage_for(transitions)
            self._is_checked = True
        assert self._storage is not None
        for storage, rows in zip(self._storage, transitions, strict=True):
            if isinstance(storage, dict):
                for key, values in storage.items():
                    values[begin:end] = rows[key]
            else:
                storage[begin:end] = rows
        self._size = end
        self.n_steps += 1

    def _storage_for(self, transitions: Transitions[np.ndarray]) -> Transitions[np.ndarray]:
        if self._storage is None:
            return type(transitions)._make(_allocate(rows, self.capacity) for rows in transitions)
        held, new = _layout(self._storage), _layout(transitions)
        if held != new:
            raise ValueError(
                f"transitions: rows of {new} cannot join rows of {held}; "
                "if the environment changed, reset() the buffer first"
            )
        return self._storage

    def transitions(self) -> Transitions[np.ndarray]:
        """Give the rows held so far, as views: the next :meth:`reset` and :meth:`add` overwrite them.

        :raises ValueError: when nothing was ever added
        """
        if self._storage is None:
            raise ValueError("transitions: nothing was added to this buffer yet")
        return type(self._storage)._make(_read(storage, slice(self._size)) for storage in self._storage)

    def tensors(self, device: th.device) -> Transitions[th.Tensor]:
        """Give :meth:`transitions` as tensors; on the CPU they share its memory."""
        rows = self.transitions()
        return cast(Transitions[th.Tensor], type(rows)._make(obs_as_tensor(values, device) for values in rows))

    def continued(self, capacity: int) -> Self:
        """Give a new buffer that begins with this one's rows and steps and has room for ``capacity`` more rows."""
        buffer = type(self)(len(self) + capacity)
        if len(self) > 0:
            buffer.add(self.transitions())
            buffer._is_checked = False  # they may come from another environment than those to come
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
        self.__dict__.update(type(self)(state["capacity"]).__dict__)
        if state["rows"] is not None:
            self.add(state["rows"])
        self.n_steps = state["n_steps"]


def _allocate(rows: Any, capacity: int) -> Observations:
    if isinstance(rows, dict):
        return {key: np.empty((capacity, *values.shape[1:]), values.dtype) for key, values in rows.items()}
    return np.empty((capacity, *rows.shape[1:]), rows.dtype)


def _read(storage: Observations, index: slice) -> Observations:
    if isinstance(storage, dict):
        return {key: values[index] for key, values in storage.items()}
    return storage[index]


def _layout(rows: Any) -> Any:
    """Sum up the shapes and dtypes of transitions."""
    if isinstance(rows, tuple):
        return [_layout(values) for values in rows]
    if isinstance(rows, dict):
        return {key: _layout(values) for key, values in rows.items()}
    return f"{rows.dtype}{list(rows.shape[1:])}"
