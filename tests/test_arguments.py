import numpy as np
import pytest

from sb3_a2c_td import arguments


@pytest.mark.parametrize("value", [0, -3, 2.5, 2.0, None, "5"])
def test_check_at_least_one_rejects(value) -> None:
    with pytest.raises(ValueError, match=f"n_steps must be an integer of at least 1, got {value!r}"):
        arguments.check_at_least_one("n_steps", value)


def test_check_at_least_one_accepts_numpy_integers() -> None:
    arguments.check_at_least_one("n_steps", np.int32(1))


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf, "0.9", None])
def test_check_number_rejects(value) -> None:
    with pytest.raises(ValueError, match=f"gamma must be a finite number at least 0 and at most 1, got {value!r}"):
        arguments.check_number("gamma", value, low=0.0, high=1.0)


def test_check_number_includes_its_bounds() -> None:
    arguments.check_number("gamma", 0.0, low=0.0, high=1.0)
    arguments.check_number("gamma", 1, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="reward_scale must be a finite number above 0, got 0"):
        arguments.check_number("reward_scale", 0, low=0.0, low_is_valid=False)
