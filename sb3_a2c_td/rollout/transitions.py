"""The transitions of one rollout."""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, NoReturn, cast

import numpy as np
import torch as th
from stable_baselines3.common.utils import obs_as_tensor

from sb3_a2c_td.rollout.observations import ArrayT, Observations, map_arrays, named_arrays, paired_arrays, select_rows

SB3_ATTRIBUTES = {
    "get": "call transitions()",
    "pos": "read n_steps",
    "full": "compare n_steps with model.n_steps",
    "size": "call len(buffer)",
    "buffer_size": "read capacity",
    "n_envs": "read model.n_envs",
    "gamma": "read model.gamma",
    "device": "read model.device",
    "compute_returns_and_advantage": "the update computes them itself",
    "values": "call the policy's predict_values(observations)",
    "log_probs": "call the policy's evaluate_actions(observations, actions)",
    "advantages": "the update computes them; the log has their mean as train/td_error",
    "returns": "the update computes one-step targets; for returns, use A2C",
    "episode_starts": "read terminated and truncated in transitions()",
}
"""what to read instead of attributes of SB3's ``RolloutBuffer`` that :class:`TransitionBuffer` does not have"""
_SHAPE_AND_DTYPE = attrgetter("shape", "dtype")


class Transitions(NamedTuple, Generic[ArrayT]):
    """Transitions ``(s, a, r, s', end)``, one a row, in numpy arrays or in tensors.

    A one-step method needs nothing else: the rows may come in any order and from any episode.
    """

    observations: ArrayT | dict[str, ArrayT]
    """``(N, *observation_shape)``, or a dict of such arrays"""
    actions: ArrayT
    """as the policy sampled them, before clipping or unscaling: ``(N, *action_shape)``"""
    rewards: ArrayT
    """``(N,)`` float32, not scaled"""
    next_observations: ArrayT | dict[str, ArrayT]
    """like ``observations``; where an episode ended, its last observation, not the first one of the next episode (but
    this one if the environment returned no valid last one, and no target uses it)"""
    terminated: ArrayT
    """bool ``(N,)``"""
    truncated: ArrayT
    """bool ``(N,)``"""

    @property
    def action_masks(self) -> None:
        """``None``: every action was allowed, see :class:`MaskedTransitions`."""
        return


class MaskedTransitions(NamedTuple, Generic[ArrayT]):
    """:class:`Transitions` with masks of the allowed actions."""

    observations: ArrayT | dict[str, ArrayT]
    actions: ArrayT
    rewards: ArrayT
    next_observations: ArrayT | dict[str, ArrayT]
    terminated: ArrayT
    truncated: ArrayT
    action_masks: ArrayT
    """whether each choice was allowed, bool ``(N, n_choices)``, with the choices of all action components in order"""


class RecurrentTransitions(NamedTuple, Generic[ArrayT]):
    """:class:`Transitions` of a recurrent policy. The rows of each environment are in the order of time."""

    observations: ArrayT | dict[str, ArrayT]
    actions: ArrayT
    rewards: ArrayT
    next_observations: ArrayT | dict[str, ArrayT]
    terminated: ArrayT
    truncated: ArrayT
    env: ArrayT
    """index of the environment, ``(N,)`` int64"""
    episode_starts: ArrayT
    """whether the observation is the first of an episode, bool ``(N,)``"""
    lstm_states: ArrayT
    """the LSTM states before the observation, ``(N, 4 * n_layers, hidden_size)`` float32, see
    :class:`~sb3_a2c_td.policies.recurrent.SeparateRecurrentPolicy`"""

    @property
    def action_masks(self) -> None:
        """``None``: every action was allowed."""
        return


class TransitionBuffer:
    """Stores the transitions of one rollout, in arrays that are allocated once and reused.

    The rows are flat: an environment step usually adds one row for each environment, or fewer where some rows are no
    transitions. The arrays are allocated when the first transitions arrive, with their shapes and dtypes. These may
    differ from the observation space: ``VecNormalize`` returns floats for a space of integers.

    :meth:`transitions` returns the rows. :attr:`observations`, :attr:`actions` and :attr:`rewards` have the names that
    callbacks know from SB3's ``RolloutBuffer``, where they have an axis for the steps and one for the environments.

    :param capacity: the number of rows to allocate
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n_steps = 0
        """environment steps (of all environments together) since the last :meth:`reset`"""
        self.check: Callable[[Transitions[np.ndarray]], None] | None = None
        """is called, and may raise, when shapes or dtypes of the transitions change; not pickled"""
        self._size = 0
        self._storage: Transitions[np.ndarray] | None = None
        self._storage_arrays: Sequence[np.ndarray] = []
        self._last_layout: list[Any] | None = None
        self._last_view: Transitions[np.ndarray] | None = None

    def __len__(self) -> int:
        return self._size

    # SB3's names, for callbacks

    @property
    def observations(self) -> Observations:
        """The observations of :meth:`transitions`: ``(N, *observation_shape)``, or a dict of such arrays."""
        return self.transitions().observations

    @property
    def actions(self) -> np.ndarray:
        """The actions of :meth:`transitions`: ``(N, *action_shape)``."""
        return self.transitions().actions

    @property
    def rewards(self) -> np.ndarray:
        """The rewards of :meth:`transitions`: ``(N,)``."""
        return self.transitions().rewards

    def __getattr__(self, name: str) -> NoReturn:
        hint = f"; {SB3_ATTRIBUTES[name]}" if name in SB3_ATTRIBUTES else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}", name=name, obj=self)

    def reset(self) -> None:
        """Remove all rows, and keep the arrays for the next ones."""
        self.n_steps = 0
        self._size = 0

    def add(self, transitions: Transitions[np.ndarray]) -> None:
        """Copy the transitions of one environment step into the buffer.

        :param transitions: the rows to add, ``N`` of them; ``N`` may differ from call to call
        :raises ValueError: if they exceed the capacity, or do not match the rows in the buffer
        """
        end = self._size + len(transitions.rewards)
        if end > self.capacity:
            raise ValueError(
                f"transitions: {end - self._size} rows do not fit into a buffer with {self._size} rows and "
                f"capacity={self.capacity}. A changed n_steps takes effect at the next learn()."
            )
        arrays, layout = _arrays_and_layout(transitions)
        if layout != self._last_layout:
            if self.check is not None:
                self.check(transitions)
            self.allocate(transitions)
            self._last_layout = layout
        index = slice(self._size, end)
        for storage, rows in zip(self._storage_arrays, arrays):  # noqa: B905, as many in both
            storage[index] = rows
        # in one statement, so that Ctrl-C comes before or after it
        self._size, self.n_steps = end, self.n_steps + 1

    def allocate(self, transitions: Transitions[np.ndarray]) -> None:
        """Allocate the arrays, unless those at hand fit, without adding anything.

        :param transitions: rows with the shapes and dtypes of those to add
        :raises ValueError: if they do not match the rows in the buffer
        """
        n = len(transitions.rewards)
        storage = self._storage
        if storage is None or (self._size == 0 and not _fits(storage, transitions, n)):
            storage = type(transitions)._make(_allocate(values, self.capacity) for values in transitions)
        if not _fits(storage, transitions, n):
            raise ValueError(
                f"transitions: {n} rows of {_describe(transitions)} do not match the buffer's rows of "
                f"{_describe(storage)}. If the environment changed, reset() the buffer first."
            )
        self._storage, self._storage_arrays, self._last_view = storage, _arrays_and_layout(storage)[0], None

    def transitions(self) -> Transitions[np.ndarray]:
        """Return the rows added so far, as views: the next :meth:`reset` and :meth:`add` overwrite them.

        :raises ValueError: if nothing was ever added
        """
        if self._storage is None:
            raise ValueError(
                "transitions: the buffer is empty: no environment has taken a step yet, or nothing was added to it"
            )
        if self._last_view is None or len(self._last_view.rewards) != self._size:
            used = slice(self._size)
            self._last_view = type(self._storage)._make(select_rows(values, used) for values in self._storage)
        return self._last_view

    @property
    def storage(self) -> Transitions[np.ndarray] | None:
        """All rows, used or not, as views; ``None`` if nothing was ever added."""
        return self._storage

    def set_size(self, n_rows: int, n_steps: int) -> None:
        """Count rows that were written into :attr:`storage`.

        :param n_rows: how many rows there are now
        :param n_steps: environment steps since the last :meth:`reset`
        """
        self._size, self.n_steps = n_rows, n_steps

    def tensors(self, device: th.device) -> Transitions[th.Tensor]:
        """Return :meth:`transitions` as tensors, which share memory with the buffer on the CPU."""
        rows = self.transitions()
        return cast(Transitions[th.Tensor], type(rows)._make(obs_as_tensor(values, device) for values in rows))

    def successors(self) -> np.ndarray:
        """Return for each row the index of the row whose observation is its next observation.

        That is the row of the same environment one step later, unless an episode or the rollout ended in between. The
        observations themselves are compared, so that a wrong guess of the row does no harm.

        :return: int ``(N,)``, -1 where no row matches
        """
        rows = self.transitions()
        per_step = math.ceil(len(self) / self.n_steps)
        later, earlier = slice(per_step, None), slice(len(self) - per_step)
        same = _equal_rows(select_rows(rows.observations, later), select_rows(rows.next_observations, earlier))
        successors = np.full(len(self), -1)
        successors[earlier][same] = np.arange(len(self))[later][same]
        return successors

    def replace_last_rewards(self, rewards: np.ndarray) -> None:
        """Replace the rewards of the rows that were added last.

        :param rewards: ``(n,)``
        """
        if len(rewards) > 0:
            self.rewards[len(self) - len(rewards) :] = rewards

    def make_room(self, n_rows: int) -> None:
        """Keep the rows and steps, and allocate arrays for ``n_rows`` more when the next ones arrive.

        :param n_rows: the number of rows
        """
        larger = type(self)(len(self) + n_rows)
        if len(self) > 0:
            larger.add(self.transitions())
        larger.n_steps = self.n_steps
        # in one statement, so that Ctrl-C comes before or after it
        vars(self).update(vars(larger))

    def __getstate__(self) -> dict[str, Any]:
        # a saved model holds only the rows in use
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
    """Return copies of some rows.

    :param transitions: ``N`` rows
    :param rows: their indices, from 0 to ``N - 1``
    """
    return type(transitions)._make(map_arrays(lambda array: array.take(rows, axis=0), values) for values in transitions)


def _arrays_and_layout(transitions: Transitions[np.ndarray]) -> tuple[Sequence[np.ndarray], list[Any]]:
    """Return the arrays, those of a dict in the order of its keys, and a list of their shapes, dtypes and keys."""
    if not isinstance(transitions.observations, dict):
        return cast(Sequence[np.ndarray], transitions), list(map(_SHAPE_AND_DTYPE, transitions))
    named = [pair for values in transitions for pair in _sorted_arrays(values)]
    keys, arrays = zip(*named, strict=True)
    return arrays, [*map(_SHAPE_AND_DTYPE, arrays), *keys]


def _sorted_arrays(values: Any) -> list[tuple[str, np.ndarray]]:
    # without named_arrays(), since this runs at every step
    return sorted(values.items()) if isinstance(values, dict) else [("", values)]


def _allocate(values: Any, capacity: int) -> Any:
    return map_arrays(lambda array: _allocate_array(array, capacity), values)


def _allocate_array(array: np.ndarray, capacity: int) -> np.ndarray:
    # images that SB3 transposed keep their channels last in memory, where convolutions are faster
    return np.empty_like(array, shape=(capacity, *array.shape[1:]), order="K" if array.ndim == 4 else "C")


def _fits(storage: Transitions[np.ndarray], transitions: Transitions[np.ndarray], n: int) -> bool:
    """Check whether numpy would store ``n`` rows without broadcasting or casting floats to integers."""
    return all(_values_fit(stored, values, n) for stored, values in zip(storage, transitions, strict=True))


def _values_fit(storage: Any, values: Any, n: int) -> bool:
    stored, new = dict(named_arrays("", storage)), dict(named_arrays("", values))
    return stored.keys() == new.keys() and all(_array_fits(stored[name], array, n) for name, array in new.items())


def _array_fits(storage: np.ndarray, array: np.ndarray, n: int) -> bool:
    return array.shape == (n, *storage.shape[1:]) and np.can_cast(array.dtype, storage.dtype, "same_kind")


def _describe(transitions: Transitions[np.ndarray]) -> dict[str, Any]:
    """Return shapes and dtypes by field, for an error message."""
    return {
        name: map_arrays(lambda array: f"{array.dtype}{list(array.shape[1:])}", values)
        for name, values in transitions._asdict().items()
    }


def _equal_rows(first: Any, second: Any) -> np.ndarray:
    """Compare observations row by row: bool ``(N,)``."""
    equal: np.ndarray = np.logical_and.reduce(
        [(a == b).all(axis=tuple(range(1, a.ndim))) for a, b in paired_arrays(first, second)]
    )
    return equal
