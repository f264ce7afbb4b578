"""The memory and the threads in which numpy computes large batches."""

import numpy as np
import pytest
import torch as th
from threadpoolctl import threadpool_info, threadpool_limits

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines import mlp_gradients
from sb3_a2c_td.engines.autograd import AutogradEngine
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions
from tests.algorithms.comparing import assert_same_parameters


def make(**kwargs) -> TDA2C:
    return TDA2C("MlpPolicy", "CartPole-v1", engine="numpy", device="cpu", seed=0, **kwargs)


def batch(n: int, seed: int) -> TransitionBuffer:
    rng = np.random.default_rng(seed)
    observations, next_observations = rng.normal(size=(2, n, 4)).astype(np.float32)
    ended = rng.random(n) < 0.1
    buffer = TransitionBuffer(n)
    rewards = rng.normal(size=n).astype(np.float32)
    buffer.add(Transitions(observations, rng.integers(0, 2, n), rewards, next_observations, ended, ended & False))
    return buffer


def blas_threads() -> set[int]:
    """Of numpy's library, and of scipy's where that is imported."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("activation", [th.nn.ReLU, th.nn.Tanh])
def test_batches_of_any_size_may_follow_each_other(activation: type) -> None:
    """With the results of autograd."""
    ours, theirs = (make(policy_kwargs={"activation_fn": activation}) for _ in range(2))
    reference = AutogradEngine(theirs.policy)
    for seed, n in enumerate([3, 20_000, 7, 5_000, 20_000]):
        config = ours._loss_config()
        first, second = (
            ours._engine.update(batch(n, seed), config, ours._streams),
            reference.update(batch(n, seed), config, theirs._streams),
        )
        np.testing.assert_allclose(first.targets, second.targets, atol=1e-6)
        np.testing.assert_allclose(first.values, second.values, atol=1e-6)
    assert_same_parameters(ours, theirs, atol=2e-6)


def test_the_next_update_does_not_overwrite_the_values_of_the_last() -> None:
    model = make()
    update = model._engine.update(batch(50, 0), model._loss_config(), model._streams)
    values = update.values.copy()
    model._engine.update(batch(50, 1), model._loss_config(), model._streams)
    np.testing.assert_array_equal(update.values, values)


def test_large_batches_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    forward = mlp_gradients.forward
    monkeypatch.setattr(mlp_gradients, "forward", lambda *args: seen.append(blas_threads()) or forward(*args))
    model = make()
    with threadpool_limits(2, "blas"):
        model._engine.update(batch(1000, 0), model._loss_config(), model._streams)
        model._engine.act(np.zeros((1000, 4), np.float32), model._streams)
        assert len(seen) == 3
        assert all(1 in threads for threads in seen)
        assert blas_threads() == {2}
