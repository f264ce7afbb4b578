import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import torch as th
from hypothesis import assume, given
from hypothesis import strategies as st

from sb3_a2c_td import losses

vectors = npst.arrays(np.float64, st.shared(st.integers(1, 20), key="n"), elements=st.floats(-100, 100))


def tensor(*values: float) -> th.Tensor:
    return th.tensor(values, dtype=th.float32)


def test_discounts_are_zero_where_the_episode_ended() -> None:
    assert losses.discounts(th.tensor([False, True]), gamma=0.9).tolist() == pytest.approx([0.9, 0.0])


def test_discounts_require_booleans() -> None:
    """The bitwise complement of an integer would not be 0 or 1."""
    with pytest.raises(AssertionError, match="dtype"):
        losses.discounts(th.tensor([0, 1]), gamma=0.9)


@pytest.mark.parametrize(
    ("reward", "discount", "next_value", "target"),
    [(1.0, 0.9, 10.0, 10.0), (0.01, 0.99, -2.0, -1.97), (0.5, 0.0, 1e6, 0.5), (-1.0, 1.0, 1.0, 0.0)],
)
def test_td_target_table(reward: float, discount: float, next_value: float, target: float) -> None:
    y = losses.td_target(tensor(reward), tensor(discount), tensor(next_value))
    assert y.tolist() == pytest.approx([target])


def test_td_error_table() -> None:
    assert losses.td_error(tensor(1.0, 2.0, -3.0), tensor(0.5, 2.0, 1.0)).tolist() == [0.5, 0.0, -4.0]


def test_actor_loss_table() -> None:
    # -(2 log 0.5 + (-1) log 0.25) / 2 = -(2 log 0.5 - 2 log 0.5) / 2
    log_prob = tensor(0.5, 0.25).log()
    assert losses.actor_loss(log_prob, tensor(2.0, -1.0)).item() == pytest.approx(0.0)
    assert losses.actor_loss(log_prob, tensor(1.0, 0.0)).item() == pytest.approx(np.log(2) / 2)


def test_critic_loss_table() -> None:
    assert losses.critic_loss(tensor(1.0, 2.0), tensor(0.0, 4.0)).item() == pytest.approx(2.5)


def test_double_softmax_table() -> None:
    # softmax(log 3, 0) = (3/4, 1/4); softmax of that gives action 0 the probability 1 / (1 + e^(-1/2))
    logits = th.tensor([[np.log(3.0), 0.0], [np.log(3.0), 0.0]])
    log_prob = losses.double_softmax_log_prob(logits, th.tensor([0, 1]))
    p = 1 / (1 + np.exp(-0.5))
    assert log_prob.tolist() == pytest.approx([np.log(p), np.log(1 - p)])


@given(logits=npst.arrays(np.float64, (4, 3), elements=st.floats(-20, 20)), shift=st.floats(-5, 5))
def test_double_softmax_ignores_shifts_of_the_logits(logits: np.ndarray, shift: float) -> None:
    action = th.tensor([0, 1, 2, 0])
    z = th.as_tensor(logits)
    shifted = losses.double_softmax_log_prob(z + shift, action)
    th.testing.assert_close(shifted, losses.double_softmax_log_prob(z, action))
    # the largest probability of a softmax over values in [0, 1]
    assert (shifted.exp() <= np.e / (np.e + 2) + 1e-9).all()


@given(advantage=vectors)
def test_normalized_has_mean_zero_and_std_one(advantage: np.ndarray) -> None:
    assume(len(advantage) > 1 and advantage.std() > 1e-3)
    normalized = losses.normalized(th.as_tensor(advantage))
    assert normalized.mean().item() == pytest.approx(0, abs=1e-6)
    assert normalized.std().item() == pytest.approx(1, rel=1e-4)


def test_normalized_keeps_a_single_advantage() -> None:
    assert losses.normalized(tensor(-3.0)).tolist() == [-3.0]


def test_normalized_equal_advantages_are_zero() -> None:
    assert losses.normalized(tensor(2.0, 2.0, 2.0)).tolist() == [0.0, 0.0, 0.0]


@given(log_prob=vectors, advantage=vectors)
def test_actor_loss_gradient_is_the_policy_gradient_estimate(log_prob: np.ndarray, advantage: np.ndarray) -> None:
    log_prob_ = th.as_tensor(log_prob).requires_grad_()
    advantage_ = th.as_tensor(advantage).requires_grad_()
    losses.actor_loss(log_prob_, advantage_).backward()
    np.testing.assert_allclose(log_prob_.grad, -advantage / len(advantage))
    assert advantage_.grad is None


@given(value=vectors, target=vectors)
def test_critic_loss_gradient_is_the_semi_gradient(value: np.ndarray, target: np.ndarray) -> None:
    value_ = th.as_tensor(value).requires_grad_()
    target_ = th.as_tensor(target).requires_grad_()
    losses.critic_loss(value_, target_).backward()
    np.testing.assert_allclose(value_.grad, -2 * (target - value) / len(value))
    assert target_.grad is None


@pytest.mark.parametrize(
    "call",
    [
        lambda flat, column: losses.td_target(flat, flat, column),
        lambda flat, column: losses.td_target(column, flat, flat),
        lambda flat, column: losses.td_error(flat, column),
        lambda flat, column: losses.actor_loss(column, flat),
        lambda flat, column: losses.critic_loss(flat, column),
        lambda flat, column: losses.normalized(column),
        lambda flat, column: losses.discounts(column.bool(), 0.9),
        lambda flat, column: losses.double_softmax_log_prob(column, column.long()),
        lambda flat, column: losses.double_softmax_log_prob(flat, flat.long()),
    ],
)
def test_broadcasting_shapes_are_rejected(call) -> None:
    with pytest.raises(AssertionError, match="shape"):
        call(th.zeros(3), th.zeros(3, 1))
