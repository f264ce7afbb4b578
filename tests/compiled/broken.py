"""Functions of environments with one mistake each, and what ``check_compiled_env`` says about them."""

import numba
import numpy as np


def reset(state, rng):
    state[0] = rng.random()
    state[1] = 0.0


def step(state, action, rng):
    state[0] = rng.random()
    state[1] = 0.5
    return 1.0, rng.random() < 0.1


def observe(state, out):
    out[0] = state[0]
    out[1] = state[1]


def plain_helper(state):
    return state[0]


def step_with_a_plain_function(state, action, rng):
    return plain_helper(state), False


def step_of_two_arguments(state, action):
    return 1.0, False


def step_without_terminated(state, action, rng):
    return 1.0


def step_with_a_number_for_terminated(state, action, rng):
    return 1.0, 0.5


def step_with_swapped_results(state, action, rng):
    return state[0] > 0.5, 1.0


def step_with_a_dict(state, action, rng):
    return {"reward": 1.0}, False


def reset_that_returns(state, rng):
    state[:] = 0.0
    return state


def step_that_writes_out_of_bounds(state, action, rng):
    state[action] = 0.5
    return 1.0, False


def step_that_reads_out_of_bounds(state, action, rng):
    return state[int(state[0] * 4)], True


def observe_out_of_bounds(state, out):
    for i in range(3):
        out[i] = state[0]


def reset_that_leaves_a_number(state, rng):
    state[0] = rng.random()


def reset_that_adds(state, rng):
    state[0] += rng.random()
    state[1] = 0.0


def observe_that_leaves_a_number(state, out):
    out[0] = state[0]


def observe_that_changes_the_state(state, out):
    state[1] = 0.25
    out[0] = state[0]
    out[1] = state[1]


def observe_that_leaves_the_space(state, out):
    out[0] = state[0]
    out[1] = 2 * state[1] + 0.5


def step_with_another_generator(state, action, rng):
    state[0] = np.random.random()  # noqa: NPY002
    return 1.0, False


@numba.njit
def numbas_generator():
    return np.random.random()  # noqa: NPY002


def step_with_a_random_reward(state, action, rng):
    return numbas_generator(), False


def step_with_nan(state, action, rng):
    state[0] = rng.random()
    return np.log(state[0] - 0.5), False


def step_with_one_bound(state, action, rng):
    return float(rng.integers(10)), False


def step_that_is_not_written(state, action, rng):
    raise NotImplementedError


def step_with_a_large_reward(state, action, rng):
    return 1e300, False


def step_that_changes_the_action(state, action, rng):
    action[0] = 0.0
    return 1.0, False


BROKEN = {
    "plain function": (
        {"step": step_with_a_plain_function},
        "step does not compile: Untyped global name 'plain_helper': Cannot determine Numba type of <class 'function'>, "
        "so decorate it with numba.njit.",
    ),
    "two arguments": ({"step": step_of_two_arguments}, "Expected step(state, action, rng), which returns (reward, ter"),
    "no terminated": (
        {"step": step_without_terminated},
        "step does not compile: No conversion from float64 to Tuple(float64, bool). Expected step(state, action, rng)",
    ),
    "an argument of the generator": (
        {"step": step_with_one_bound},
        "step does not compile: missing a required argument: 'high', in NumPyRandomGeneratorType_integers(",
    ),
    "no return": ({"step": step_that_is_not_written}, "step never returns, since it always raises an error. Expected"),
    "a dict": ({"step": step_with_a_dict}, "step does not compile: No conversion from Tuple("),
    "a reset that returns": ({"reset": reset_that_returns}, "reset does not compile: No conversion from array("),
    "a number": (
        {"step": step_with_a_number_for_terminated},
        "step returns (float64, float64): (reward, terminated) must be a number and a boolean",
    ),
    "swapped": (
        {"step": step_with_swapped_results},
        "step returns (bool, float64): (reward, terminated) must be a number and a boolean",
    ),
    "writes": ({"step": step_that_writes_out_of_bounds}, "step reads or writes an array out of bounds, in state ["),
    "reads": ({"step": step_that_reads_out_of_bounds}, "step reads or writes an array out of bounds, in state ["),
    "observes": ({"observe": observe_out_of_bounds}, "observe reads or writes an array out of bounds, after a reset"),
    "a number of the state": (
        {"reset": reset_that_leaves_a_number},
        "reset leaves state[1] as it was: it must write all numbers of state",
    ),
    "an old state": (
        {"reset": reset_that_adds},
        "reset depends on something other than its arguments: state[0] is ",
    ),
    "a number of the observation": (
        {"observe": observe_that_leaves_a_number},
        "observe leaves out[1] as it was: it must write all numbers of out",
    ),
    "a state that is observed": (
        {"observe": observe_that_changes_the_state},
        "observe changes its argument state, after a reset, from [",
    ),
    "the space": (
        {"observe": observe_that_leaves_the_space},
        "with action 0, which must be finite and in Box(0.0, 1.0, (2,), float32)",
    ),
    "another generator": (
        {"step": step_with_another_generator},
        "step depends on something other than its arguments: in state [",
    ),
    "a helper's generator": (
        {"step": step_with_a_random_reward},
        "Draw random numbers from rng, and keep everything else in the state.",
    ),
    "rewards": ({"step": step_with_nan}, "step returns the reward nan in state ["),
    "large rewards": ({"step": step_with_a_large_reward}, "step returns the reward 1e+300 in state ["),
    "actions": ({"step": step_that_changes_the_action}, "step changes its argument action, in state ["),
}
"""by mistake: the functions that have it, and a part of the message"""
