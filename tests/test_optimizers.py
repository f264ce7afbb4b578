import math

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st

from sb3_a2c_td import AdamTFLike
from sb3_a2c_td.optimizers import max_parameter_change


def gradients(n_steps: int, seed: int = 0) -> np.ndarray:
    """Draw gradients of very different magnitudes; for small ones epsilon matters."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_steps, 6)) * np.logspace(-9, 1, 6)


def descend(optimizer: th.optim.Optimizer, param: th.Tensor, gradient: np.ndarray) -> None:
    param.grad = th.as_tensor(gradient, dtype=param.dtype)
    optimizer.step()


@given(
    lr=st.floats(1e-5, 1e-1),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.9999)),
    eps=st.floats(1e-10, 1e-2),
    seed=st.integers(0, 100),
)
def test_steps_match_keras_formula(lr: float, betas: tuple[float, float], eps: float, seed: int) -> None:
    """Compared with Keras's formula in numpy, in float64."""
    param = th.zeros(6, dtype=th.float64)
    optimizer = AdamTFLike([param], lr=lr, betas=betas, eps=eps)
    theta, m, v = np.zeros(6), np.zeros(6), np.zeros(6)
    beta1, beta2 = betas
    for t, g in enumerate(gradients(10, seed), start=1):
        descend(optimizer, param, g)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta -= lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps)
        np.testing.assert_allclose(param, theta, rtol=1e-9, atol=1e-14)


def test_steps_match_pytorch_adam_with_shrinking_epsilon() -> None:
    ours, theirs = th.zeros(6, dtype=th.float64), th.zeros(6, dtype=th.float64)
    adam_tf_like, adam = AdamTFLike([ours], lr=1e-3, eps=1e-7), th.optim.Adam([theirs], lr=1e-3)
    for t, g in enumerate(gradients(50), start=1):
        adam.param_groups[0]["eps"] = 1e-7 / np.sqrt(1 - 0.999**t)
        descend(adam_tf_like, ours, g)
        descend(adam, theirs, g)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_differs_from_pytorch_adam() -> None:
    ours, theirs = th.zeros(6, dtype=th.float64), th.zeros(6, dtype=th.float64)
    adam_tf_like, adam = AdamTFLike([ours], eps=1e-7), th.optim.Adam([theirs], eps=1e-7)
    for g in gradients(5):
        descend(adam_tf_like, ours, g)
        descend(adam, theirs, g)
    assert (ours - theirs).abs().max() > 1e-4


def test_two_groups_match_two_optimizers() -> None:
    together = [th.zeros(6), th.zeros(6)]
    apart = [th.zeros(6), th.zeros(6)]
    one = AdamTFLike([{"params": [together[0]], "lr": 1e-2}, {"params": [together[1]], "lr": 1e-3}])
    two = [AdamTFLike([apart[0]], lr=1e-2), AdamTFLike([apart[1]], lr=1e-3)]
    for g in gradients(20):
        for param in together:
            param.grad = th.as_tensor(g, dtype=th.float32)
        one.step()
        for optimizer, param in zip(two, apart, strict=True):
            descend(optimizer, param, g)
    assert th.equal(together[0], apart[0])
    assert th.equal(together[1], apart[1])


def test_memory_layout_has_no_effect() -> None:
    """A parameter, its gradient and its moments may have different memory layouts."""

    def laid_out(transposed: bool) -> th.Tensor:
        return th.zeros(2, 3).t() if transposed else th.zeros(3, 2)

    for strided_param, strided_grad in [(True, False), (False, True), (True, True)]:
        plain, strided = laid_out(False), laid_out(strided_param)
        optimizers = AdamTFLike([plain]), AdamTFLike([strided])
        for g in gradients(5):
            for param, transposed, optimizer in zip((plain, strided), (False, strided_grad), optimizers, strict=True):
                param.grad = laid_out(transposed).copy_(th.as_tensor(g).view(3, 2))
                optimizer.step()
        assert th.equal(plain, strided)


def test_moments_survive_a_state_dict(tmp_path) -> None:
    param, copy = th.zeros(6), th.zeros(6)
    optimizer = AdamTFLike([param])
    for g in gradients(7):
        descend(optimizer, param, g)
    th.save(optimizer.state_dict(), tmp_path / "optimizer.pth")

    copy.copy_(param)
    loaded = AdamTFLike([copy])
    loaded.load_state_dict(th.load(tmp_path / "optimizer.pth", weights_only=True))
    for g in gradients(7, seed=1):
        descend(optimizer, param, g)
        descend(loaded, copy, g)
    assert th.equal(param, copy)


def test_numpy_settings_can_be_saved(tmp_path) -> None:
    optimizer = AdamTFLike([th.zeros(1)], lr=np.float32(1e-3), betas=tuple(np.array([0.9, 0.99])), eps=np.float64(1e-7))
    th.save(optimizer.state_dict(), tmp_path / "optimizer.pth")
    assert th.load(tmp_path / "optimizer.pth", weights_only=True)["param_groups"][0]["eps"] == 1e-7


def test_parameter_without_gradient_is_unchanged() -> None:
    still = th.ones(2)
    AdamTFLike([still]).step()
    assert th.equal(still, th.ones(2))


def test_step_returns_the_loss_of_the_closure() -> None:
    param = th.ones(1, requires_grad=True)
    optimizer = AdamTFLike([param], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert optimizer.step(closure) == pytest.approx(0.81, rel=1e-4)


@pytest.mark.parametrize(
    "kwargs", [{"lr": -1.0}, {"lr": np.nan}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1e-9}]
)
def test_invalid_arguments_are_named(kwargs) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        AdamTFLike([th.zeros(1)], **kwargs)


def step_sizes(optimizer: th.optim.Optimizer, gradients: list[float]) -> list[float]:
    (param,) = optimizer.param_groups[0]["params"]
    sizes = []
    for g in gradients:
        param.zero_()
        descend(optimizer, param, np.array([g], np.float32))
        sizes.append(abs(param.item()))
    return sizes


@given(
    optimizer_class=st.sampled_from([AdamTFLike, th.optim.Adam]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.8, 0.65), (0.99, 0.999)]),
    eps=st.sampled_from([1e-18, 1e-7, 1.0]),
    exponents=st.lists(st.floats(-45, 15), min_size=1, max_size=30),
)
def test_no_step_exceeds_the_bound(optimizer_class, betas, eps, exponents: list[float]) -> None:
    """For gradients of all magnitudes, also those whose squares underflow."""
    optimizer = optimizer_class([th.zeros(1)], lr=0.1, betas=betas, eps=eps)
    assert max(step_sizes(optimizer, [10**exponent for exponent in exponents])) <= max_parameter_change(optimizer)


def test_bound_is_nearly_reached() -> None:
    """If gradients grow by beta2 / beta1, the Cauchy–Schwarz inequality is an equality."""
    optimizer = AdamTFLike([th.zeros(1)], lr=0.1, betas=(0.9, 0.999), eps=1e-18)
    *_, last = step_sizes(optimizer, [1e-15 * (0.999 / 0.9) ** t for t in range(400)])
    # the bound has a factor 2 for rounding, and 1 / (1 - beta1) for the first steps
    assert last == pytest.approx(max_parameter_change(optimizer) / 20 * math.sqrt(1 - 0.999**400), rel=0.01)


def test_other_optimizers_have_no_bound() -> None:
    param = [th.zeros(1)]
    for optimizer in (
        AdamTFLike(param, eps=0.0),
        AdamTFLike(param, betas=(0.99, 0.9)),
        th.optim.Adam(param, weight_decay=0.1),
        th.optim.SGD(param),
        type("Subclass", (AdamTFLike,), {})(param),
    ):
        assert max_parameter_change(optimizer) == math.inf
