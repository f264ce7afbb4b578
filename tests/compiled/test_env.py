import copy
import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from sb3_a2c_td.compiled import CompiledEnv
from tests.compiled.environments import PLANE, WALK, reset_walk, step_walk

VALID: dict[str, Any] = {
    "observation_space": PLANE,
    "action_space": spaces.Discrete(3),
    "state_size": 2,
    "reset": reset_walk,
    "step": step_walk,
}


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("observation_space", spaces.Box(0, 255, (4, 4), np.uint8), "observation_space must be Discrete from 0 on, or"),
        ("observation_space", spaces.Box(-1, 1, (2,), np.float64), "a Box of vectors in float32, got Box"),
        ("action_space", spaces.MultiBinary(3), "action_space must be Discrete from 0 on, or a Box of vectors"),
        ("action_space", spaces.Discrete(3, start=1), "action_space must be Discrete from 0 on"),
        ("state_size", 0, "state_size must be an integer of at least 1, got 0"),
        ("state_size", 3, "observe: without it, observations are states, of 3 numbers; those of Box(.*) have 2"),
        ("max_episode_steps", -1, "max_episode_steps must be an integer of at least 1, got -1"),
        ("state_dtype", "U5", "state_dtype must be a native integer, float32 or float64, got 'U5'"),
        ("state_dtype", ">f8", "state_dtype must be a native integer, float32 or float64, got '>f8'"),
        ("state_dtype", np.float16, "state_dtype must be a native integer, float32 or float64"),
        ("step", 3, "step must be a function, got 3"),
    ],
)
def test_invalid_arguments_are_named(argument: str, value: Any, message: str) -> None:
    CompiledEnv(**VALID)
    with pytest.raises(ValueError) as raised:
        CompiledEnv(**{**VALID, argument: value})
    assert re.search(re.escape(message).replace(re.escape(".*"), ".*"), str(raised.value))


def test_a_copy_is_the_same_object() -> None:
    """So a copied VecEnv compiles nothing again."""
    assert copy.deepcopy([WALK])[0] is WALK
