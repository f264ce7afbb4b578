"""Step sizes against sums, SB3's progress and the conditions of Robbins and Monro."""

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import zeta
from stable_baselines3.common.env_util import make_vec_env

from sb3_a2c_td import TDA2C
from sb3_a2c_td.schedules import (
    PowerLaw,
    check_robbins_monro,
    checked_learning_rate,
    linear_schedule,
    robbins_monro_schedule,
    scheduled_rate,
)
from tests.environments import CountingEnv

POSITIVE = st.floats(0.01, 100.0)


class Recorder(TDA2C):
    """Keeps the steps taken and both learning rates of every update."""

    def train(self) -> None:
        super().train()
        rates = [group["lr"] for group in self.policy.optimizer.param_groups]
        self.history = [*getattr(self, "history", []), (self.num_timesteps, *rates)]


def recorded(total_timesteps: int, n_envs: int = 1, **kwargs) -> Recorder:
    env = make_vec_env(CountingEnv, n_envs=n_envs)
    kwargs = {"learning_rate": robbins_monro_schedule(0.5, 100, 0.75, total_timesteps), "device": "cpu"} | kwargs
    return Recorder("MlpPolicy", env, reward_scale=1e-3, seed=0, engine="autograd", **kwargs)


@pytest.mark.parametrize("value", [-1e-3, np.nan, None])
def test_numbers_that_are_no_rates(value) -> None:
    with pytest.raises(ValueError, match=f"learning_rate must be .* got {value!r}"):
        checked_learning_rate("learning_rate", value)


@pytest.mark.parametrize(
    "text", ["lin_", "lin_-1e-3", "lin_nan", "lin_inf", "linear_1e-3", "1e-3", "lin1e-3", "lin_1e-3 lin", ""]
)
@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate"])
def test_strings_that_are_no_rates(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}='{text}' is no learning rate.*'lin_1e-3'.*pass a number"):
        TDA2C("MlpPolicy", CountingEnv(7), **{name: text})


def test_numbers_and_functions_are_taken_as_they_are() -> None:
    assert type(checked_learning_rate("learning_rate", np.float32(0.5))) is float
    assert checked_learning_rate("learning_rate", abs) is abs


def test_what_a_schedule_gives_is_checked() -> None:
    assert scheduled_rate("learning_rate", lambda progress: progress * 2, 0.5) == 1.0
    with pytest.raises(ValueError, match=r"critic_learning_rate.*progress_remaining=0\.25.*got -1"):
        scheduled_rate("critic_learning_rate", lambda progress: -1.0, 0.25)


def test_strings_stand_for_linear_rates() -> None:
    model = recorded(50, learning_rate="lin_1e-3", critic_learning_rate="lin_4e-3").learn(50)
    for t, actor_rate, critic_rate in model.history:
        assert actor_rate == pytest.approx(1e-3 * (1 - t / 50))
        assert critic_rate == pytest.approx(4e-3 * (1 - t / 50))
    assert [t for t, *_ in model.history] == list(range(5, 51, 5))


@given(st.floats(0.0, 1e3), st.floats(0.0, 1.0))
def test_a_linear_rate_never_falls_below_zero(rate: float, progress_remaining: float) -> None:
    assert linear_schedule(rate)(progress_remaining) == pytest.approx(rate * progress_remaining, abs=1e-12 * rate)
    assert linear_schedule(rate)(progress_remaining) >= 0.0


def test_linear_rates_are_saved_and_resumed(tmp_path: Path) -> None:
    """Without ``trusted=True``, and to the same weights as without the stop."""
    rates = {"learning_rate": "lin_1e-3", "critic_learning_rate": "lin_4e-3"}
    model = recorded(100, **rates).learn(100, callback=lambda seen, _: seen["self"].num_timesteps < 50)
    model.save(tmp_path / "model")
    resumed = Recorder.resume(tmp_path / "model", make_vec_env(CountingEnv), device="cpu")
    resumed.learn(50, reset_num_timesteps=False)
    whole = recorded(100, **rates).learn(100)
    np.testing.assert_array_equal(resumed.history, whole.history)
    for one, other in zip(resumed.policy.parameters(), whole.policy.parameters(), strict=True):
        assert one.equal(other)


def test_a_loaded_model_takes_strings_too(tmp_path: Path) -> None:
    recorded(50).save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu", learning_rate="lin_2e-3", critic_learning_rate=0)
    assert loaded.lr_schedule(0.5) == pytest.approx(1e-3)
    assert loaded.critic_lr_schedule(0.5) == 0.0
    assert pickle.loads(pickle.dumps(loaded.learning_rate))(0.5) == pytest.approx(1e-3)


@given(POSITIVE, POSITIVE, st.floats(0.0, 3.0), st.integers(0, 10**6))
def test_a_power_law(a: float, b: float, power: float, t: int) -> None:
    assert PowerLaw(a, b, power)(t) == pytest.approx(a / (b + t) ** power)
    np.testing.assert_allclose(PowerLaw(a, b, power)(np.array([[t, 0]])), [[a / (b + t) ** power, a / b**power]])


@pytest.mark.parametrize("power", [0, 0.25, 0.45, 0.5, 0.55, 0.75, 0.95, 1, 1.05, 2])
def test_the_conditions_agree_with_condensed_sums(power: float) -> None:
    """Cauchy: a sum is finite exactly if its blocks of doubling length shrink like a geometric series."""
    steps = PowerLaw(3, 7, power)

    def shrinks(exponent: int) -> bool:
        first, second = (np.sum(steps(np.arange(2**k, 2 ** (k + 1), dtype=float)) ** exponent) for k in (16, 17))
        return second < 0.98 * first

    assert steps.sum_diverges == (not shrinks(1))
    assert steps.sum_of_squares_converges == shrinks(2)


@given(POSITIVE, POSITIVE, st.floats(0.55, 1.0))
def test_the_squares_sum_to_the_zeta_function(a: float, b: float, power: float) -> None:
    steps = PowerLaw(a, b, power)
    check_robbins_monro(steps)
    n = 10**5
    rest = a**2 * (b + n) ** (1 - 2 * power) / (2 * power - 1)
    assert np.sum(steps(np.arange(n, dtype=float)) ** 2) + rest == pytest.approx(a**2 * zeta(2 * power, b), rel=1e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"a": 0.0}, r"a must be a finite number above 0, got 0.0"),
        ({"b": -1}, r"b must be a finite number above 0, got -1"),
        ({"a": float("nan")}, r"a must be a finite number above 0, got nan"),
        ({"power": 0.5}, r"power=0.5: the sum of the squares .* use a power above 0.5 \(for a constant step, pass"),
        ({"power": 0}, r"power=0: the sum of the squares"),
        ({"power": 1.01}, r"power=1.01: the sum of .* must be infinite.*use a power of at most 1"),
        ({"power": "1"}, r"power must be a finite number"),
        ({"total_timesteps": 0}, r"total_timesteps must be a finite number above 0, got 0"),
    ],
)
def test_errors(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robbins_monro_schedule(**({"a": 1.0, "b": 1.0, "power": 1.0, "total_timesteps": 100} | kwargs))


@pytest.mark.parametrize("power", [0.5000001, 0.75, 1, 1.0])
def test_the_bounds_of_the_power(power: float) -> None:
    robbins_monro_schedule(1, 1, power, 100)


@pytest.mark.parametrize("n_envs", [1, 3])
def test_t_is_the_number_of_steps(n_envs: int) -> None:
    critic = robbins_monro_schedule(2.0, 10, 1.0, 60)
    model = recorded(60, n_envs, critic_learning_rate=critic).learn(60)
    for t, actor_rate, critic_rate in model.history:
        assert actor_rate == pytest.approx(0.5 / (100 + t) ** 0.75)
        assert critic_rate == pytest.approx(2.0 / (10 + t))
    assert len(model.history) == 60 // (5 * n_envs)


def test_a_longer_run_begins_with_the_same_step_sizes() -> None:
    short, long = recorded(50).learn(50), recorded(100).learn(100)
    np.testing.assert_allclose(short.history, long.history[: len(short.history)])


def test_learning_again_begins_again() -> None:
    model = recorded(50).learn(50)
    first, model.history = model.history, []
    model.learn(50)
    np.testing.assert_allclose(model.history, first)


def test_going_on_after_load(tmp_path: Path) -> None:
    """With a schedule over both calls, as its docstring says."""
    recorded(50).learn(50).save(tmp_path / "model")
    loaded = Recorder.load(
        tmp_path / "model",
        env=make_vec_env(CountingEnv),
        learning_rate=robbins_monro_schedule(0.5, 100, 0.75, 100),
        device="cpu",
    )
    loaded.history = []
    loaded.learn(50, reset_num_timesteps=False)
    np.testing.assert_allclose(loaded.history, recorded(100).learn(100).history[10:])


def test_it_is_pickled_and_saved(tmp_path: Path) -> None:
    schedule = robbins_monro_schedule(0.5, 100, 0.75, 50)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    recorded(50).save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu")
    assert loaded.learning_rate == schedule
    assert loaded.lr_schedule(0.5) == schedule(0.5) == pytest.approx(0.5 / 125**0.75)


def test_the_default_length_is_that_of_learn() -> None:
    default = inspect.signature(TDA2C.learn).parameters["total_timesteps"].default
    assert robbins_monro_schedule(1.0, 10.0, 1.0) == robbins_monro_schedule(1.0, 10.0, 1.0, default)
