"""Checks compiled environments, as Gymnasium's and SB3's ``check_env`` check others."""

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_a2c_td.compiled.env import CompiledEnv, copied_spaces, width
from sb3_a2c_td.compiled.optional_numba import numba_modules

N_STEPS = 1000
"""steps that are checked, with random actions"""


def check_compiled_env(env: CompiledEnv) -> None:
    """Check that an environment compiles, and that 1,000 steps with random actions keep to the rules.

    It raises an error if a function does not compile or has another return type; reads or writes an array out of
    bounds, except in functions that it calls; leaves numbers of the state or of the observation as they were; depends
    on something other than its arguments; or changes an argument that it should not. Observations must be in their
    space, and rewards and observations finite in float32.

    :param env: the environment
    :raises ImportError: if numba is not installed
    :raises ValueError: if something is wrong; the message names the function, and shows the state
    """
    functions, _ = numba_modules()
    compiled = functions.compiled_functions(env).functions
    functions.check_return_type(env)
    _Checker(env, *compiled).check()


class _Checker:
    """Calls the compiled functions from Python, one by one."""

    def __init__(self, env: CompiledEnv, reset: Any, step: Any, observe: Any) -> None:
        self._env, self._reset, self._step, self._observe = env, reset, step, observe
        self._observation_space, self._action_space = copied_spaces(env)
        self._action_space.seed(0)
        self._rng, self._other_rng = np.random.default_rng(0), np.random.default_rng(1)
        self._other_state = self._first_state()

    def check(self) -> None:
        """Run episodes, and check every step."""
        state, n_steps = self._first_state(), 0
        for _ in range(N_STEPS):
            terminated = self._checked_step(state)
            n_steps += 1
            if terminated or n_steps == self._env.max_episode_steps:
                state, n_steps = self._first_state(), 0

    def _first_state(self) -> np.ndarray:
        """Return the state after a reset, and check that nothing else than the generator matters for it."""
        rng = deepcopy(self._rng)
        state, again = self._filled_state(0), self._filled_state(1)
        _call("reset", "from a state of zeros", self._reset, state, self._rng)
        _call("reset", "from a state of ones", self._reset, again, rng)
        _check_filled("reset", "state", state, again)
        self._check_observation(state, "after a reset")
        return state

    def _filled_state(self, value: int) -> np.ndarray:
        return np.full(self._env.state_size, value, self._env.state_dtype)

    def _checked_step(self, state: np.ndarray) -> bool:
        action = self._sampled_action()
        kept_action, before, rng = deepcopy(action), state.copy(), deepcopy(self._rng)
        where = _Text("in state", before, "with action", action)
        reward, terminated = _call("step", where, self._step, state, action, self._rng)
        if not np.array_equal(action, kept_action):
            raise ValueError(f"step changes its argument action, {where}: use a copy")
        if not _is_finite(reward):
            raise ValueError(f"step returns the reward {reward} {where}: rewards must be finite in float32")
        self._step_another_copy()
        again = before.copy()
        outcome = _call("step", where, self._step, again, action, rng)
        if outcome != (reward, terminated) or not np.array_equal(again, state, equal_nan=True):
            raise ValueError(
                f"step depends on something other than its arguments: {where}, it returns {(reward, terminated)} with "
                f"the next state {state}, and when repeated {outcome} with {again}. Draw random numbers from rng, and "
                "keep everything else in the state."
            )
        self._check_observation(state, _Text("after the step", where))
        return bool(terminated)

    def _sampled_action(self) -> Any:
        action = self._action_space.sample()
        return int(action) if isinstance(self._action_space, spaces.Discrete) else action

    def _step_another_copy(self) -> None:
        """Step a copy of the environment in another state, which must not matter for the first one."""
        where = _Text("in state", self._other_state.copy())
        _, terminated = _call("step", where, self._step, self._other_state, self._sampled_action(), self._other_rng)
        if terminated:
            _call("reset", where, self._reset, self._other_state, self._other_rng)

    def _check_observation(self, state: np.ndarray, where: "str | _Text") -> None:
        is_choice = isinstance(self._observation_space, spaces.Discrete)
        out, again = (
            np.full(width(self._observation_space), value, np.int64 if is_choice else np.float32) for value in (0, 1)
        )
        first, second = (_surrounded(state, value, len(out)) for value in (0, 1))
        _call("observe", where, self._observe, first, out)
        _call("observe", where, self._observe, second, again)
        if not np.array_equal(first, state, equal_nan=True):
            raise ValueError(f"observe changes its argument state, {where}, from {state} to {first}")
        _check_filled("observe", "out", out, again)
        observation = out[0] if is_choice else out
        if not self._observation_space.contains(observation) or not _is_finite(observation):
            raise ValueError(
                f"observe returns {observation} {where}, which must be finite and in {self._observation_space}"
            )


class _Text:
    """Parts of a sentence: they become text, which takes long for a large state, only in an error."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __str__(self) -> str:
        with np.printoptions(threshold=20, edgeitems=5):
            return " ".join(map(str, self._parts))


def _surrounded(state: np.ndarray, value: int, n: int) -> np.ndarray:
    """Copy a state into the middle of an array, since numba's ufuncs read past the end of a short argument."""
    padded = np.full(len(state) + 2 * n, value, state.dtype)
    middle: np.ndarray = padded[n : n + len(state)]
    middle[:] = state
    return middle


def _is_finite(numbers: Any) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(numbers, np.float32)).all())


def _call(name: str, where: str | _Text, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except IndexError as error:
        raise ValueError(f"{name} reads or writes an array out of bounds, {where}") from error
    except Exception as error:
        error.add_note(f"in {name}, {where}")
        raise


def _check_filled(name: str, argument: str, filled: np.ndarray, again: np.ndarray) -> None:
    """Check that a function wrote the same into an array of zeros and into one of ones."""
    different = np.flatnonzero(~((filled == again) | (np.isnan(filled) & np.isnan(again))))
    if len(different) == 0:
        return
    i = different[0]
    if (filled[i], again[i]) == (0, 1):
        raise ValueError(f"{name} leaves {argument}[{i}] as it was: it must write all numbers of {argument}")
    raise ValueError(
        f"{name} depends on something other than its arguments: {argument}[{i}] is {filled[i]}, and when repeated "
        f"{again[i]}. Draw random numbers from rng, and read no number of {argument} before it is written."
    )
