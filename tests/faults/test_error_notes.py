"""Exceptions of environments and callbacks keep their type, and get a note with the step and the cause."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from tests.faults.scenarios import (
    FAST_VEC_ENVS,
    VEC_ENVS,
    WORKER_WARNINGS,
    ActingCallback,
    FaultyEnv,
    Step,
    assert_ended,
    assert_training_continues,
    boom,
    make_model,
    make_vec_env,
    processes_of,
    weights_after,
    weights_of,
)

pytestmark = WORKER_WARNINGS


@pytest.mark.parametrize("kind", ["dummy", "sync"])
def test_an_exception_of_an_environment_names_it_and_the_step(kind: str, tmp_path: Path) -> None:
    model = make_model(make_vec_env(kind, boom))
    with pytest.raises(LookupError, match=r"(?s)^boom\n.* step 21 by environment 1 \(FaultyEnv\) of") as caught:
        model.learn(60)
    # the traceback of the environment is kept
    assert caught.traceback[-1].name == "boom"
    assert th.equal(weights_of(model), weights_after(1))
    assert len(model.rollout_buffer) == 3
    assert_training_continues(model, tmp_path)


@pytest.mark.parametrize("kind", FAST_VEC_ENVS)
def test_an_exception_in_a_reset_names_the_environment(kind: str) -> None:
    class Unready(FaultyEnv):
        def reset(self, **kwargs):
            raise LookupError("not ready")

    env = VEC_ENVS[kind]([FaultyEnv, Unready])
    model = make_model(env)
    with pytest.raises(RuntimeError if kind == "fork" else LookupError, match="step 0.* environment 1"):
        model.learn(10)
    if kind in ("async", "fork"):
        assert_ended(processes_of(env))
    assert len(model.rollout_buffer) == 0


def test_after_a_failed_reset_the_environment_is_reset_again() -> None:
    """A transition must not lead from the observation before it to one after it."""

    class Once(FaultyEnv):
        def reset(self, **kwargs):
            if self.episode == 0:
                self.episode += 1
                raise LookupError("not now")
            return super().reset(**kwargs)

    model = make_model(Once()).learn(3)
    with pytest.raises(LookupError, match="not now"):
        model.learn(3)
    model.learn(2, reset_num_timesteps=False)
    rows = model.rollout_buffer.transitions()
    np.testing.assert_array_equal(rows.next_observations - rows.observations, [[0, 1]] * len(rows.rewards))


def test_stop_iteration_keeps_its_type() -> None:
    """Generator-based context managers could swallow it."""

    def stop(step: Step) -> None:
        raise StopIteration("over")

    model = make_model(make_vec_env("dummy", stop))
    with pytest.raises(StopIteration, match="over"):
        model.learn(60)


def test_a_registered_environment_is_named_by_its_id() -> None:
    env = gym.make("CartPole-v1")
    env.unwrapped.step = lambda action: boom([])
    with pytest.raises(LookupError, match=r"step 1 by environment 0 \(CartPole-v1\) of DummyVecEnv"):
        make_model(env).learn(10)


@pytest.mark.parametrize(("kind", "at"), [*((kind, 21) for kind in FAST_VEC_ENVS), ("dummy", 15)])
def test_after_an_exception_of_a_callback_training_continues(kind: str, at: int, tmp_path: Path) -> None:
    """The transition of the step is stored, and the weights are those of an undisturbed training."""
    error = LookupError("boom")

    def raise_it() -> None:
        raise error

    env = make_vec_env(kind, None, length=6)
    model = make_model(env)
    with pytest.raises(LookupError, match=rf"(?s)^boom\n.*step {at} in the callback ActingCallback") as caught:
        model.learn(60, ActingCallback(at, raise_it))
    assert caught.value is error
    assert model.num_timesteps == at
    model.learn(60 - at, reset_num_timesteps=False)
    assert th.equal(weights_of(model), weights_of(make_model(make_vec_env("dummy", None, length=6)).learn(60)))
    assert_training_continues(model, tmp_path)
    env.close()


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("obs_tensor", "the last rows of rollout_buffer.observations"),
        ("values", "call model.policy.predict_values"),
        ("log_probs", "call model.policy.evaluate_actions"),
        ("n_steps", "read rollout_buffer.n_steps"),
    ],
)
def test_a_callback_that_reads_locals_of_a2c_gets_a_hint(name: str, hint: str, as_function: bool) -> None:
    class Reading(BaseCallback):
        def _on_step(self) -> bool:
            return bool(self.locals[name])

    def read(local_variables, global_variables) -> bool:
        return bool(local_variables[name])

    with pytest.raises(KeyError, match=name) as caught:
        make_model(make_vec_env("dummy", None)).learn(60, read if as_function else Reading())
    assert any(
        note.startswith(f"Callbacks of TDA2C have no locals['{name}']: {hint}") for note in caught.value.__notes__
    )


def test_other_key_errors_get_no_hint() -> None:
    def look_up(local_variables, global_variables) -> bool:
        return local_variables["unknown"]

    with pytest.raises(KeyError) as caught:
        make_model(make_vec_env("dummy", None)).learn(60, look_up)
    assert len(caught.value.__notes__) == 1
