"""The global generators, put back."""

import random

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import set_random_seed

from sb3_a2c_td.saving import UnreadableCheckpointError, generators


def draw() -> tuple[float, ...]:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), th.rand(1).item()  # noqa: NPY002


def test_generators_go_on_where_they_were() -> None:
    set_random_seed(3)
    draw()
    saved = generators.states()
    expected = draw()
    set_random_seed(4)
    assert draw() != expected
    generators.restore(saved)
    assert draw() == expected


def test_nothing_that_is_drawn_inside_shows_outside() -> None:
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
def test_a_position_beyond_the_state(position: int) -> None:
    saved = generators.states()
    saved["numpy"]["state"]["pos"] = position
    with pytest.raises(UnreadableCheckpointError, match=f"a generator's 'pos' is {position}, not from 0 to 624"):
        generators.restore(saved)
