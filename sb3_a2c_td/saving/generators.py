"""The states of random number generators: a model's own, and the global ones of Python, numpy and PyTorch."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th

from sb3_a2c_td.saving.errors import UnreadableCheckpointError

MT19937_LENGTH = 624
"""length of the state of the generators that numpy's global functions and PyTorch use on the CPU"""
BUFFER_LENGTH = 4
"""length of the buffer of numpy's Philox"""


def states() -> dict[str, Any]:
    """Return the states of the generators as plain data, those of GPUs only if CUDA was used."""
    on_gpus = th.cuda.get_rng_state_all() if th.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        # the global one, which SB3 seeds
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": th.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in on_gpus],
    }


def restore(saved: dict[str, Any]) -> None:
    """Put the generators into saved states, except for those of GPUs that this machine does not have.

    :param saved: the states from :func:`states`
    :raises UnreadableCheckpointError: if no generator can be in such a state
    """
    random.setstate(saved["python"])
    check_numpy_state(saved["numpy"])
    np.random.set_state(saved["numpy"])  # noqa: NPY002
    _check_torch_state(saved["torch"])
    th.set_rng_state(th.from_numpy(saved["torch"]))
    for device, state in enumerate(saved["cuda"][: th.cuda.device_count()]):
        th.cuda.set_rng_state(th.from_numpy(state), device)


@contextmanager
def untouched() -> Iterator[None]:
    """Restore the generators at the end, whatever is drawn or seeded inside."""
    before = states()
    try:
        yield
    finally:
        restore(before)


def check_numpy_state(state: dict[str, Any]) -> None:
    """Check the state of one of numpy's bit generators, which numpy itself does not.

    :param state: the state
    :raises UnreadableCheckpointError: if an index is out of bounds, or if the generator would repeat one number
        forever, so that a loop that waits for another one would never end
    """
    numbers = state["state"]
    _check_index(numbers, "pos", MT19937_LENGTH)
    _check_index(state, "buffer_pos", BUFFER_LENGTH)
    if int(numbers.get("inc", 1)) % 2 == 0 or not np.any(numbers.get("key", 1)):
        raise UnreadableCheckpointError("a random number generator's state would repeat one number forever")


def _check_index(holder: dict[str, Any], name: str, end: int) -> None:
    if not 0 <= int(holder.get(name, 0)) <= end:
        raise UnreadableCheckpointError(
            f"a random number generator's {name!r} is {holder[name]}; it must be from 0 to {end}"
        )


def _check_torch_state(state: np.ndarray) -> None:
    """Check the state of PyTorch's generator on the CPU, which PyTorch itself does not.

    How many of its numbers are left, and the index of the next one, are at bytes 8 and 16.

    :raises UnreadableCheckpointError: if numbers beyond the last would be read
    """
    left = int(state[8:12].view(np.int32)[0])
    next_number = int(state[16:24].view(np.uint64)[0])
    if not (1 <= left <= MT19937_LENGTH and left + next_number <= MT19937_LENGTH + 1):
        raise UnreadableCheckpointError(f"PyTorch's generator has {left} numbers left from number {next_number} on")
