"""The global generators of random numbers: Python's, numpy's and PyTorch's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th

from sb3_a2c_td.saving.errors import UnreadableCheckpointError


def states() -> dict[str, Any]:
    """Give the states of the generators, as plain data.

    Those of GPUs are among them once CUDA was used.
    """
    on_gpus = th.cuda.get_rng_state_all() if th.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        # the one that SB3 seeds and the engines draw from
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": th.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in on_gpus],
    }


def checked(state: dict[str, Any]) -> dict[str, Any]:
    """Check the state of one of numpy's bit generators, which numpy takes as it comes.

    :raises UnreadableCheckpointError: if an index lies outside of what it counts, or it would give the same number for
        ever, for which whoever waits for another one would wait for ever
    """
    numbers = state["state"]
    for holder, name, end in ((numbers, "pos", 624), (state, "buffer_pos", 4)):
        if not 0 <= int(holder.get(name, 0)) <= end:
            raise UnreadableCheckpointError(f"a generator's {name!r} is {holder[name]}, not from 0 to {end}")
    if int(numbers.get("inc", 1)) % 2 == 0 or not np.any(numbers.get("key", 1)):
        raise UnreadableCheckpointError("a generator's state is none that it can come to")
    return state


def restore(saved: dict[str, Any]) -> None:
    """Put the generators into the states that :func:`states` gave.

    GPUs that are not there are left out.
    """
    random.setstate(saved["python"])
    np.random.set_state(checked(saved["numpy"]))  # noqa: NPY002
    _check_torch(saved["torch"])
    th.set_rng_state(th.from_numpy(saved["torch"]))
    for device, state in enumerate(saved["cuda"][: th.cuda.device_count()]):
        th.cuda.set_rng_state(th.from_numpy(state), device)


def _check_torch(state: np.ndarray) -> None:
    """Check the state of PyTorch's generator on the CPU, of which PyTorch does not check that its parts match.

    How many of the 624 numbers are left, and which is next, come second and fourth in it.

    :raises UnreadableCheckpointError: if numbers beyond the last would be taken
    """
    left, next_number = int(state[8:12].view(np.int32)[0]), int(state[16:24].view(np.uint64)[0])
    if not (1 <= left <= 624 and left + next_number <= 625):
        raise UnreadableCheckpointError(f"a generator of PyTorch's has {left} numbers left from {next_number} on")


@contextmanager
def untouched() -> Iterator[None]:
    """Leave the generators as they were, whatever is drawn or seeded inside."""
    before = states()
    try:
        yield
    finally:
        restore(before)
