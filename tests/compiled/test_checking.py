"""``check_compiled_env`` accepts what works, and has a sentence for each mistake."""

import numpy as np
import pytest
from gymnasium import spaces

from sb3_a2c_td.compiled import CompiledEnv, check_compiled_env
from tests.compiled import broken
from tests.compiled.environments import ENVS

UNIT = spaces.Box(0.0, 1.0, (2,), np.float32)


def made(mistake: str) -> CompiledEnv:
    functions, _ = broken.BROKEN[mistake]
    # the one that writes out of bounds takes its index from the action
    choices = spaces.Discrete(5 if mistake == "writes" else 1)
    return CompiledEnv(
        observation_space=UNIT,
        action_space=spaces.Box(0.5, 1.0, (1,), np.float32) if mistake == "actions" else choices,
        state_size=2,
        reset=functions.get("reset", broken.reset),
        step=functions.get("step", broken.step),
        observe=functions.get("observe", broken.observe),
    )


@pytest.mark.parametrize("mistake", broken.BROKEN)
def test_mistakes_are_named(mistake: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_compiled_env(made(mistake))
    _, message = broken.BROKEN[mistake]
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_functions_without_a_mistake_are_accepted() -> None:
    check_compiled_env(CompiledEnv(UNIT, spaces.Discrete(1), 2, broken.reset, broken.step, broken.observe))


@pytest.mark.parametrize("name", ENVS)
def test_working_environments_are_accepted(name: str) -> None:
    check_compiled_env(ENVS[name])
