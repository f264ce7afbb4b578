"""The global generators are restored."""

import random

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import set_random_seed

from sb3_a2c_td.saving import UnreadableCheckpointError, generators


def draw() -> tuple[float, ...]:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), th.rand(1).item()  # noqa: NPY002


def test_generators_continue_from_a_saved_state() -> None:
    set_random_seed(3)
    draw()
    saved = generators.states()
    expected = draw()
    set_random_seed(4)
    assert draw() != expected
    generators.restore(saved)
    assert draw() == expected


def test_draws_inside_are_not_visible_outside() -> None:
    set_random_seed(3)
    expected = draw()
    set_random_seed(3)

    def seed_and_fail() -> None:
        with generators.untouched():
            set_random_seed(5)
            draw()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        seed_and_fail()
    assert draw() == expected


@pytest.mark.parametrize("position", [-1, 625, 10**6])
def test_a_position_outside_of_the_state_is_refused(position: int) -> None:
    saved = generators.states()
    saved["numpy"]["state"]["pos"] = position
    with pytest.raises(UnreadableCheckpointError, match=f"generator's 'pos' is {position}; it must be from 0 to 624"):
        generators.restore(saved)


@pytest.mark.parametrize(("n_left", "next_number"), [(0, 1), (625, 0), (624, 2), (1, 10**9)])
def test_a_state_of_pytorch_that_would_read_beyond_its_end_is_refused(n_left: int, next_number: int) -> None:
    saved = generators.states()
    saved["torch"][8:12] = np.frombuffer(np.int32(n_left).tobytes(), np.uint8)
    saved["torch"][16:24] = np.frombuffer(np.uint64(next_number).tobytes(), np.uint8)
    with pytest.raises(UnreadableCheckpointError, match=f"PyTorch's generator has {n_left} numbers left"):
        generators.restore(saved)
