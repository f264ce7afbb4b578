"""What environments return is checked at every step; what was learned before is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import VecNormalize

from sb3_a2c_td import TDA2C
from tests.environments import DictCountingEnv
from tests.faults.scenarios import (
    FAST_VEC_ENVS,
    VEC_ENVS,
    WORKER_WARNINGS,
    FaultyEnv,
    assert_training_continues,
    make_model,
    make_vec_env,
    replaced,
    weights_after,
    weights_of,
)

pytestmark = WORKER_WARNINGS
NAN_OBSERVATION = np.array([np.nan, 0], np.float32)


@pytest.mark.parametrize(
    ("kind", "index", "value", "message"),
    [
        *((kind, 0, NAN_OBSERVATION, r"observation=\[nan +0.\] of environment 1") for kind in FAST_VEC_ENVS),
        ("dummy", 1, np.nan, "reward=nan of environment 1"),
        ("fork", 1, -np.inf, "reward=-inf of environment 1"),
    ],
)
def test_nan_and_infinity_are_refused(kind: str, index: int, value: Any, message: str, tmp_path: Path) -> None:
    env = make_vec_env(kind, replaced(index, value))
    model = make_model(env)
    with pytest.raises(ValueError, match=f"{message} at step 21 is not finite"):
        model.learn(60)
    assert th.equal(weights_of(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    # no reply is pending, so the environment stays usable
    assert_training_continues(model, tmp_path)
    env.close()


ALL = (0, 1, 2)
BY_ONE = r"step 21 by environment 1 \(FaultyEnv\) of"
FAULTS = [
    ("fork", 0, np.zeros(3, np.float32), ALL, r"^observations .*step 21: expected .*\(3, 2\), got float.* \(3, 3\)"),
    ("fork", 0, np.zeros(1, np.float32), ALL, r"^observations .*step 21: expected .*\(3, 2\), got float.* \(3, 1\)"),
    (
        "fork",
        0,
        np.zeros(3),
        (1,),
        r"step 21 by environment 1 of.*observation .*expected .*\(2,\), got float64 .*\(3,\)",
    ),
    ("sync", 0, np.zeros(3), (1,), BY_ONE + r".*observation .*expected .*\(2,\), got float64 .*\(3,\)"),
    ("async", 0, np.zeros(3), (1,), r"from shape \(3,\) into shape \(2,\).*step 21 by environment 1 of"),
    ("dummy", 0, np.zeros(3), (1,), r"from shape \(3,\) into shape \(2,\).*" + BY_ONE),
    ("fork", 0, np.array([1, None]), (1,), r"^observation=.*\[1 None\].* at step 21.*object"),
    ("sync", 0, np.array([1, None]), (1,), BY_ONE + ".*got object"),
    ("fork", 0, np.array(["1", "2"]), (1,), "^observation=.*'1' '2'.* at step 21.*<U32, which is not numeric"),
    ("dummy", 0, np.array(["a", "b"]), (1,), "could not convert string.*'a'.*" + BY_ONE),
    ("fork", 0, np.array([1j, 0]), (1,), "^observation=.*at step 21.*complex128, which is not numeric"),
    ("fork", 0, np.array([1e39, 0]), (1,), "^observation=.*e.39.* of environment 1 at step 21 is beyond .*float32"),
    ("fork", 1, None, (1,), "^reward=.*None.* at step 21.*object, which is not numeric"),
    ("dummy", 1, None, (1,), "^reward=nan of environment 1 at step 21"),
    ("fork", 1, "1.5", ALL, "^reward=.*'1.5' '1.5' '1.5'.* at step 21.*<U3, which is not numeric"),
    ("async", 1, "much", (1,), "could not convert string.*step 21 by environment 1 of.*reward .*got <U4"),
    ("dummy", 1, "much", (1,), "could not convert string.*" + BY_ONE),
    ("fork", 1, np.ones(1), ALL, r"^rewards .*step 21: expected shape \(3,\), got shape \(3, 1\)"),
    ("fork", 1, np.ones(1), (1,), r"step 21 by environment 1 of.*reward .*got float64 of shape \(1,\)"),
    ("dummy", 1, np.ones(2), (1,), "sequence.*" + BY_ONE),
    ("fork", 1, 1e39, (1,), r"^reward=1e\+39 of environment 1 at step 21 is beyond the range of float32"),
]
"""vector environment, index in the step's result, value there, environments that return it, message"""


@pytest.mark.parametrize(("kind", "index", "value", "culprits", "message"), FAULTS)
def test_mismatching_values_are_refused(
    kind: str, index: int, value: Any, culprits: tuple[int, ...], message: str
) -> None:
    env = make_vec_env(kind, replaced(index, value), culprits)
    model = make_model(env)
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        model.learn(60)
    assert th.equal(weights_of(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    env.close()


@pytest.mark.parametrize("fault_at", [1, 6])
def test_mismatching_values_at_the_start_of_a_rollout_are_refused(fault_at: int) -> None:
    """The empty buffer would take rows of any shape."""
    for index, value, message in ((0, np.zeros(3), "observations"), (1, np.ones(1), "rewards")):
        env = make_vec_env("fork", replaced(index, value), (0, 1, 2), fault_at=fault_at)
        model = make_model(env)
        with pytest.raises(ValueError, match=rf"^{message} of 3 environment\(s\) at step {3 * fault_at}: expected"):
            model.learn(60)
        assert len(model.rollout_buffer) == 0
        env.close()


def test_a_mismatching_observation_of_a_reset_is_refused() -> None:
    class Square(FaultyEnv):
        def _observation(self) -> np.ndarray:
            return np.zeros((2, 2), np.float32)

    env = VEC_ENVS["fork"]([Square])
    with pytest.raises(ValueError, match=r"^observations .*step 0: expected .*\(1, 2\), got float32 .*\(1, 2, 2\)"):
        make_model(env).learn(10)
    env.close()


def test_mismatching_dict_observations_are_refused() -> None:
    class Short(DictCountingEnv):
        def _observation(self) -> dict[str, np.ndarray]:
            observation = super()._observation()
            return observation if self.t < 3 else observation | {"step": np.zeros(2, np.float32)}

    env = VEC_ENVS["fork"]([Short])
    model = TDA2C("MultiInputPolicy", env, device="cpu")
    with pytest.raises(ValueError, match=r"^observations .*step 3: \['step'\] expected .*\(1, 1\), got .*\(1, 2\)"):
        model.learn(10)
    env.close()


@pytest.mark.parametrize("kind", ["dummy", "sync", "fork"])
def test_a_mismatching_terminal_observation_is_refused(kind: str) -> None:
    """SB3 passes it on unchecked, and numpy would broadcast it."""
    env = make_vec_env(kind, replaced(0, np.zeros(1, np.float32)), length=7, truncates=True)
    model = make_model(env, bootstrap_on_truncation=True)
    message = "step 21 by environment 1" if kind == "sync" else "^terminal_observation of environment 1 at step 21: "
    with pytest.raises(ValueError, match=message):
        model.learn(60)
    assert len(model.rollout_buffer) == 3
    env.close()


@pytest.mark.parametrize("kind", ["dummy", "async"])
@pytest.mark.parametrize(
    ("index", "value", "field", "stored"),
    [
        (0, np.full(1, 9, np.float32), "next_observations", [9, 9]),
        (0, 9.0, "next_observations", [9, 9]),
        (0, np.array(["9", "9"]), "next_observations", [9, 9]),
        (1, "1.5", "rewards", 1.5),
    ],
)
def test_values_that_vector_environments_convert_are_not_noticed(
    kind: str, index: int, value: Any, field: str, stored: Any
) -> None:
    """DummyVecEnv and AsyncVectorEnv copy into their own arrays: numpy broadcasts, and parses numbers in strings."""
    env = make_vec_env(kind, replaced(index, value))
    rows = make_model(env, n_steps=25).learn(60).rollout_buffer.transitions()
    assert stored in getattr(rows, field).tolist()
    env.close()


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, bool])
def test_other_numeric_dtypes_are_accepted(dtype: type) -> None:
    class Other(FaultyEnv):
        def _observation(self) -> np.ndarray:
            return (super()._observation() % 2).astype(dtype)

        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, dtype(reward % 2), *rest

    for wrap, stored in ((lambda env: env, dtype), (lambda env: VecNormalize(env, norm_reward=False), np.float32)):
        env = VEC_ENVS["fork"]([Other] * 2)
        model = make_model(wrap(env)).learn(40)
        assert model._n_updates == 4
        assert model.rollout_buffer.transitions().observations.dtype == stored
        env.close()
