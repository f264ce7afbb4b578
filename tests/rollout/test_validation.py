import re

import numpy as np
import pytest
from gymnasium import spaces

from sb3_a2c_td.rollout import validation

VECTOR = spaces.Box(-1, 1, (3,))
PAIR = spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (spaces.Tuple([VECTOR]), VECTOR, "observation_space=Tuple.*not supported: use one of Box"),
        (spaces.Text(3), VECTOR, "observation_space=Text"),
        (spaces.Dict(a=VECTOR, b=spaces.Text(3)), VECTOR, r"observation_space\['b'\]=Text"),
        (spaces.Discrete(3, start=1), VECTOR, "observation_space=Discrete.*start at 0"),
        (spaces.Dict(a=spaces.Discrete(3, start=1)), VECTOR, r"observation_space\['a'\]=Discrete.*start at 0"),
        (spaces.Box(-1, 1, ()), VECTOR, r"observation_space=Box.*\(1,\)"),
        (spaces.Box(-1, 1, (0,)), VECTOR, r"observation_space=Box.*has no numbers"),
        (spaces.Box(-1, 1, (3, 0)), VECTOR, r"observation_space=Box.*has no numbers"),
        (spaces.Dict(a=spaces.Box(-1, 1, (0,))), VECTOR, r"observation_space\['a'\]=Box.*has no numbers"),
        (VECTOR, spaces.Box(-1, 1, (0,)), r"action_space=Box.*has no numbers"),
        (VECTOR, spaces.MultiDiscrete([]), r"action_space=MultiDiscrete.*has no numbers"),
        (VECTOR, spaces.Tuple([VECTOR]), "action_space=Tuple"),
        (VECTOR, spaces.Dict(a=VECTOR), "action_space=Dict"),
        (VECTOR, spaces.Discrete(3, start=-1), "action_space=Discrete.*start at 0"),
        (VECTOR, spaces.MultiDiscrete([3, 2], start=[0, 1]), "action_space=MultiDiscrete.*start at 0"),
        (VECTOR, spaces.MultiDiscrete([[3, 2], [2, 3]]), "must have one axis"),
        (VECTOR, spaces.Box(-1, np.inf, (2,)), "action_space=Box.*finite; set them with .*TransformAction"),
        (VECTOR, spaces.MultiBinary([2, 2]), "action_space=MultiBinary.*one axis"),
        (spaces.Dict({"a.b": VECTOR}), VECTOR, r"key 'a\.b': rename it"),
        (spaces.Dict({"": VECTOR}), VECTOR, "key '': rename it"),
        (spaces.Dict({"a": VECTOR, "items": VECTOR}), VECTOR, "key 'items': rename it, since PyTorch's ModuleDict"),
        (spaces.Dict({"type": VECTOR}), VECTOR, "key 'type': rename it"),
        (spaces.Dict({0: VECTOR, 1: VECTOR}), VECTOR, "key 0: rename it"),
        (spaces.Dict({("a", 1): VECTOR}), VECTOR, r"key \('a', 1\): rename it"),
        (spaces.Dict(), VECTOR, r"observation_space=Dict\(\) is empty"),
    ],
)
def test_check_spaces_refuses_unsupported_spaces(observation_space, action_space, message) -> None:
    with pytest.raises(ValueError, match=message):
        validation.check_spaces(observation_space, action_space)


def test_check_finite_names_environment_and_step() -> None:
    validation.check_finite(17, reward=np.zeros(3))
    validation.check_finite(17, observation=np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="reward=nan of environment 1 at step 17"):
        validation.check_finite(17, reward=np.array([0.0, np.nan, 0.0]))
    with pytest.raises(ValueError, match=r"observation\['b'\]=\[ 0. inf\] of environment 0 at step 17"):
        validation.check_finite(17, observation={"a": np.zeros(1), "b": np.array([[0, np.inf]])})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.0, 4e38]), r"^reward=4e\+38 of environment 1 at step 17 is beyond the range of float32"),
        (np.array([1.0, None]), r"^reward=\[1.0 None\] at step 17 .* dtype object, which is not numeric"),
        (np.array(["1.0", "2.0"]), "^reward=.* dtype <U3, which is not numeric"),
        (np.array([1j]), "^reward=.* dtype complex128, which is not numeric"),
        (np.array([0], "datetime64[s]"), "^reward=.* dtype datetime64.*, which is not numeric"),
    ],
)
def test_check_finite_refuses_values_beyond_float32(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validation.check_finite(17, reward=values)


@pytest.mark.parametrize(
    "values",
    [
        np.full(1000, 3.4e38),
        np.full(1000, -3.4e38, np.float32),
        np.full(1000, 6e4, np.float16),
        np.array([np.longdouble(2)]),
        np.array([True]),
        np.array([2**63], np.uint64),
    ],
)
def test_check_finite_accepts_values_within_float32(values: np.ndarray) -> None:
    """Even if the sum of their squares overflows."""
    with np.errstate(over="ignore"):
        validation.check_finite(17, reward=values)


def test_mismatch_describes_the_difference() -> None:
    space = spaces.Dict(a=PAIR, b=spaces.Discrete(3))
    assert validation.mismatch(PAIR, np.zeros(2, np.int64)) is None
    assert validation.mismatch(PAIR, [0, 1]) is None
    assert validation.mismatch(space, {"a": np.zeros((4, 2)), "b": np.zeros(4), "more": None}, (4,)) is None
    for observation, message in (
        (np.zeros(3), r"expected numbers of shape \(2,\), got float64 of shape \(3,\)"),
        (np.zeros(2, "U1"), r"expected numbers of shape \(2,\), got <U1 of shape \(2,\)"),
        ([[1], [1, 2]], r"expected numbers of shape \(2,\), got \[\[1\], \[1, 2\]\]"),
    ):
        assert re.fullmatch(message, validation.mismatch(PAIR, observation))
    assert re.fullmatch(r"expected a dict of \{.*'b'.*\}, got \{'a'\}", validation.mismatch(space, {"a": np.zeros(2)}))
    assert re.fullmatch(r"expected a dict of \{.*\}, got ndarray", validation.mismatch(space, np.zeros(2)))
    assert validation.mismatch(space, {"a": np.zeros(2), "b": np.zeros(1)}).startswith("['b'] expected")


def test_check_shapes_names_the_array_and_the_step() -> None:
    observations = np.zeros((3, 2))
    validation.check_shapes(17, 3, PAIR, observations, rewards=np.zeros(3))
    with pytest.raises(ValueError, match=r"^observations of 4 environment\(s\) at step 17: expected .*\(4, 2\)"):
        validation.check_shapes(17, 4, PAIR, observations)
    with pytest.raises(ValueError, match=r"^rewards of 3 .* at step 17: expected shape \(3,\), got shape \(3, 1\)"):
        validation.check_shapes(17, 3, PAIR, observations, rewards=np.zeros((3, 1)))
