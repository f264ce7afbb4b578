"""Step sizes compared with sums, SB3's progress, and the Robbins–Monro conditions."""

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
from tests.algorithms.comparing import assert_same_parameters
from tests.environments import CountingEnv

POSITIVE = st.floats(0.01, 100.0)


class Recorder(TDA2C):
    """Records the number of steps and both learning rates at every update."""

    def train(self) -> None:
        super().train()
        rates = [group["lr"] for group in self.policy.optimizer.param_groups]
        self.history = [*getattr(self, "history", []), (self.num_timesteps, *rates)]


def recorded(total_timesteps: int, n_envs: int = 1, **kwargs) -> Recorder:
    env = make_vec_env(CountingEnv, n_envs=n_envs)
    kwargs = {"learning_rate": robbins_monro_schedule(0.5, 100, 0.75, total_timesteps), "device": "cpu"} | kwargs
    return Recorder("MlpPolicy", env, reward_scale=1e-3, seed=0, engine="autograd", **kwargs)


@pytest.mark.parametrize("value", [-1e-3, np.nan, None])
def test_invalid_numbers_are_rejected(value) -> None:
    with pytest.raises(ValueError, match=f"learning_rate must be .* got {value!r}"):
        checked_learning_rate("learning_rate", value)


@pytest.mark.parametrize(
    "text",
    ["lin_", "lin_-1e-3", "lin_nan", "lin_inf", "lin_1_000", "linear_1e-3", "1e-3", "lin1e-3", "lin_1e-3 lin", ""],
)
def test_invalid_strings_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^rate='{text}' is not a learning rate.*'lin_1e-3'.*pass a number"):
        checked_learning_rate("rate", text)


@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate"])
def test_the_constructor_names_the_invalid_rate(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}='1e-3' is not a learning rate"):
        TDA2C("MlpPolicy", CountingEnv(7), **{name: "1e-3"})


def test_valid_rates_are_returned() -> None:
    assert type(checked_learning_rate("learning_rate", np.float32(0.5))) is float
    assert checked_learning_rate("learning_rate", abs) is abs


def test_rates_of_a_schedule_are_checked() -> None:
    assert scheduled_rate("learning_rate", lambda progress: progress * 2, 0.5) == 1.0
    with pytest.raises(ValueError, match=r"critic_learning_rate.*progress_remaining=0\.25.*got -1"):
        scheduled_rate("critic_learning_rate", lambda progress: -1.0, 0.25)


def test_lin_strings_decay_linearly() -> None:
    model = recorded(50, learning_rate="lin_1e-3", critic_learning_rate="lin_4e-3").learn(50)
    for t, actor_rate, critic_rate in model.history:
        assert actor_rate == pytest.approx(1e-3 * (1 - t / 50))
        assert critic_rate == pytest.approx(4e-3 * (1 - t / 50))
    assert [t for t, *_ in model.history] == list(range(5, 51, 5))


@given(st.floats(0.0, 1e3), st.floats(0.0, 1.0))
def test_linear_rates_are_never_negative(rate: float, progress_remaining: float) -> None:
    assert linear_schedule(rate)(progress_remaining) == pytest.approx(rate * progress_remaining, abs=1e-12 * rate)
    assert linear_schedule(rate)(progress_remaining) >= 0.0


def test_linear_rates_are_saved_and_resumed(tmp_path: Path) -> None:
    """Without ``trusted=True``, and with the same weights as an uninterrupted run."""
    rates = {"learning_rate": "lin_1e-3", "critic_learning_rate": "lin_4e-3"}
    model = recorded(100, **rates).learn(100, callback=lambda seen, _: seen["self"].num_timesteps < 50)
    model.save(tmp_path / "model")
    resumed = Recorder.resume(tmp_path / "model", make_vec_env(CountingEnv), device="cpu")
    resumed.learn(50, reset_num_timesteps=False)
    whole = recorded(100, **rates).learn(100)
    np.testing.assert_array_equal(resumed.history, whole.history)
    assert_same_parameters(resumed, whole)


def test_load_accepts_lin_strings(tmp_path: Path) -> None:
    recorded(50).save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu", learning_rate="lin_2e-3", critic_learning_rate=0)
    assert loaded.lr_schedule(0.5) == pytest.approx(1e-3)
    assert loaded.critic_lr_schedule(0.5) == 0.0
    assert pickle.loads(pickle.dumps(loaded.learning_rate))(0.5) == pytest.approx(1e-3)


@given(POSITIVE, POSITIVE, st.floats(0.0, 3.0), st.integers(0, 10**6))
def test_power_law_matches_its_formula(a: float, b: float, power: float, t: int) -> None:
    assert PowerLaw(a, b, power)(t) == pytest.approx(a / (b + t) ** power)
    np.testing.assert_allclose(PowerLaw(a, b, power)(np.array([[t, 0]])), [[a / (b + t) ** power, a / b**power]])


@pytest.mark.parametrize("power", [0, 0.25, 0.45, 0.5, 0.55, 0.75, 0.95, 1, 1.05, 2])
def test_conditions_match_condensed_sums(power: float) -> None:
    """Cauchy: a sum is finite if and only if its blocks of doubling length shrink geometrically."""
    steps = PowerLaw(3, 7, power)

    def shrinks(exponent: int) -> bool:
        first, second = (np.sum(steps(np.arange(2**k, 2 ** (k + 1), dtype=float)) ** exponent) for k in (16, 17))
        return second < 0.98 * first

    assert steps.sum_diverges == (not shrinks(1))
    assert steps.sum_of_squares_converges == shrinks(2)


@given(POSITIVE, POSITIVE, st.floats(0.55, 1.0))
def test_squares_sum_to_the_zeta_function(a: float, b: float, power: float) -> None:
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
        ({"power": 0.5}, r"power=0.5: the sum of the squares .* Use a power above 0.5, or pass a number"),
        ({"power": 0}, r"power=0: the sum of the squares"),
        ({"power": 1.01}, r"power=1.01: the sum of .* must be infinite.*Use a power of at most 1"),
        ({"power": "1"}, r"power must be a finite number"),
        ({"total_timesteps": 0}, r"total_timesteps must be a finite number above 0, got 0"),
    ],
)
def test_invalid_arguments_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robbins_monro_schedule(**({"a": 1.0, "b": 1.0, "power": 1.0, "total_timesteps": 100} | kwargs))


@pytest.mark.parametrize("power", [0.5000001, 0.75, 1])
def test_valid_powers_are_accepted(power: float) -> None:
    assert robbins_monro_schedule(1, 1, power, 100)(0.5) == pytest.approx(51**-power)


@pytest.mark.parametrize("n_envs", [1, 3])
def test_t_counts_environment_steps(n_envs: int) -> None:
    critic = robbins_monro_schedule(2.0, 10, 1.0, 60)
    model = recorded(60, n_envs, critic_learning_rate=critic).learn(60)
    for t, actor_rate, critic_rate in model.history:
        assert actor_rate == pytest.approx(0.5 / (100 + t) ** 0.75)
        assert critic_rate == pytest.approx(2.0 / (10 + t))
    assert len(model.history) == 60 // (5 * n_envs)


def test_longer_run_starts_with_the_same_step_sizes() -> None:
    short, long = recorded(50).learn(50), recorded(100).learn(100)
    np.testing.assert_allclose(short.history, long.history[: len(short.history)])


def test_second_learn_restarts_the_schedule() -> None:
    model = recorded(50).learn(50)
    first, model.history = model.history, []
    model.learn(50)
    np.testing.assert_allclose(model.history, first)


def test_loaded_model_continues_the_schedule(tmp_path: Path) -> None:
    """With a schedule over both calls, as the docstring recommends."""
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


def test_schedule_survives_pickling_and_saving(tmp_path: Path) -> None:
    schedule = robbins_monro_schedule(0.5, 100, 0.75, 50)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    recorded(50).save(tmp_path / "model")
    loaded = TDA2C.load(tmp_path / "model", device="cpu")
    assert loaded.learning_rate == schedule
    assert loaded.lr_schedule(0.5) == schedule(0.5) == pytest.approx(0.5 / 125**0.75)


def test_default_total_timesteps_match_learn() -> None:
    default = inspect.signature(TDA2C.learn).parameters["total_timesteps"].default
    assert robbins_monro_schedule(1.0, 10.0, 1.0) == robbins_monro_schedule(1.0, 10.0, 1.0, default)
