"""When memory runs out, the weights stay as they were, and training can continue."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch as th

from sb3_a2c_td import TDA2C, MlpPolicy
from tests.faults.scenarios import (
    FaultyEnv,
    assert_training_continues,
    make_model,
    make_vec_env,
    weights_after,
    weights_of,
)


class MemoryHungryPolicy(MlpPolicy):
    """Runs out of memory while ``run_out`` is set."""

    run_out: Callable[[], None] | None = None

    def get_distribution(self, obs):
        if self.run_out is not None and (not self.in_updates_only or th.is_grad_enabled()):
            self.run_out()
        return super().get_distribution(obs)


def fill_cuda() -> None:
    raise th.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def fill_memory() -> None:
    np.empty(2**50)


def fill_torchs_memory() -> None:
    th.empty(2**50)


@pytest.mark.parametrize("in_updates_only", [False, True])
@pytest.mark.parametrize(
    ("run_out", "error"),
    [(fill_cuda, th.OutOfMemoryError), (fill_memory, MemoryError), (fill_torchs_memory, RuntimeError)],
)
def test_training_continues_after_memory_ran_out(
    run_out: Callable[[], None], error: type[Exception], in_updates_only: bool, tmp_path: Path
) -> None:
    """The weights are those of an undisturbed training."""
    model = TDA2C(MemoryHungryPolicy, make_vec_env("dummy", None), seed=0, device="cpu").learn(27)
    weights, n_rows = weights_of(model), len(model.rollout_buffer)
    MemoryHungryPolicy.run_out, MemoryHungryPolicy.in_updates_only = staticmethod(run_out), in_updates_only
    try:
        with pytest.raises(error, match=r"at step (27|30).*\nSmaller n_steps, fewer environments or smaller networks"):
            model.learn(60, reset_num_timesteps=False)
    finally:
        MemoryHungryPolicy.run_out = None
    assert th.equal(weights_of(model), weights)
    assert len(model.rollout_buffer) == n_rows + 3 * in_updates_only
    model.learn(90 - model.num_timesteps, reset_num_timesteps=False)
    assert th.equal(weights_of(model), weights_after(6, policy=MemoryHungryPolicy))
    assert_training_continues(model, tmp_path)


class HalfStep(th.optim.SGD):
    """Runs out of memory after it changed some parameters."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["params"][0].data.add_(1.0)
        fill_cuda()


def test_a_half_step_is_undone(tmp_path: Path) -> None:
    model = make_model(FaultyEnv(), policy_kwargs={"optimizer_class": HalfStep})
    weights = weights_of(model)
    with pytest.raises(th.OutOfMemoryError, match="at step 5"):
        model.learn(60)
    assert th.equal(weights_of(model), weights)
    assert len(model.rollout_buffer) == 5
