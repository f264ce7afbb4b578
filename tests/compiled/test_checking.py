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


def test_ufuncs_that_read_behind_the_state_are_noticed() -> None:
    """numba checks no bounds in them."""

    def observe(state, out):
        np.multiply(state, 1.0, out)

    env = CompiledEnv(spaces.Box(-9, 9, (4,)), spaces.Discrete(1), 2, broken.reset, broken.step, observe)
    with pytest.raises(ValueError, match=r"^observe .*out\[2\]"):
        check_compiled_env(env)


def test_observations_must_be_finite_in_float32() -> None:
    def reset(state, rng):
        state[0] = 1e300

    env = CompiledEnv(spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(1), 1, reset, broken.step)
    with pytest.raises(ValueError, match=r"^observe returns \[inf\] after a reset, which must be finite and in"):
        check_compiled_env(env)


def test_errors_shorten_large_states() -> None:
    def reset(state, rng):
        state[:] = 0.25

    def step(state, action, rng):
        return state[len(state) + action], False

    env = CompiledEnv(spaces.Box(-1, 1, (1_000,)), spaces.Discrete(1), 1_000, reset, step)
    with pytest.raises(
        ValueError, match=r"^step reads or writes an array out of bounds, in state \[0.25 .*\.\.\."
    ) as raised:
        check_compiled_env(env)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ENVS)
def test_working_environments_are_accepted(name: str) -> None:
    check_compiled_env(ENVS[name])
