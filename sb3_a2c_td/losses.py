r"""The mathematics of TDA2C: tensors in, tensors out.

Unless a docstring says otherwise, every quantity is a float tensor of shape ``(N,)`` with one entry per transition of
the batch. Shapes are asserted, since ``(N,) - (N, 1)`` would broadcast silently to ``(N, N)``.

Sources: Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd ed. (2018), chapters 6 and 13;
Mnih et al., *Asynchronous Methods for Deep Reinforcement Learning* (2016), https://arxiv.org/abs/1602.01783.
"""

import torch as th
from torch.nn import functional as F


def discounts(ended: th.Tensor, gamma: float) -> th.Tensor:
    r"""Compute the discount of every transition: :math:`\gamma_t = \gamma (1 - \text{ended}_t)`.

    The end of an episode appears nowhere else in the mathematics.

    :param ended: whether no value is bootstrapped after the transition, bool ``(N,)``
    :param gamma: discount factor :math:`\gamma`
    :return: :math:`\gamma_t`: :math:`\gamma`, or 0 where the episode ended, float32 ``(N,)``
    """
    _assert_vectors(ended=ended)
    assert ended.dtype == th.bool, f"ended: expected the dtype bool, got {ended.dtype}"
    return gamma * (~ended).float()


def td_target(reward: th.Tensor, discount: th.Tensor, next_value: th.Tensor) -> th.Tensor:
    r"""Compute the one-step TD target :math:`y = r + \gamma_t V(s')` (Sutton & Barto, eq. 6.2).

    :param reward: (scaled) rewards :math:`r`, ``(N,)``
    :param discount: :math:`\gamma_t`, see :func:`discounts`, ``(N,)``
    :param next_value: :math:`V(s')`, ``(N,)``
    :return: :math:`y`, ``(N,)``
    """
    _assert_vectors(reward=reward, discount=discount, next_value=next_value)
    return reward + discount * next_value


def td_error(target: th.Tensor, value: th.Tensor) -> th.Tensor:
    r"""Compute the TD error :math:`A = y - V(s)`, the one-step estimate of the advantage (Sutton & Barto, eq. 6.5).

    :param target: :math:`y`, ``(N,)``
    :param value: :math:`V(s)`, ``(N,)``
    :return: :math:`A`, ``(N,)``
    """
    _assert_vectors(target=target, value=value)
    return target - value


def normalized(advantage: th.Tensor) -> th.Tensor:
    r"""Normalize advantages over the batch: :math:`(A - \bar A) / (\operatorname{std} A + 10^{-8})`, as SB3 does.

    A single advantage has no standard deviation and is returned unchanged.

    :param advantage: :math:`A`, ``(N,)``
    :return: ``(N,)``
    """
    _assert_vectors(advantage=advantage)
    if len(advantage) == 1:
        return advantage
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def double_softmax_log_prob(logits: th.Tensor, action: th.Tensor) -> th.Tensor:
    r"""Compute :math:`\log \operatorname{softmax}(\operatorname{softmax}(z))_a`.

    The first TensorFlow 2 releases computed this for a network with a softmax output and a cross-entropy with
    ``from_logits=True``. As the log-probability in :func:`actor_loss`, it reproduces such code literally.

    :param logits: :math:`z`, normalized or not, ``(N, n_actions)``
    :param action: :math:`a`, integers, ``(N,)``
    :return: ``(N,)``
    """
    assert logits.ndim == 2, f"logits: expected the shape (N, n_actions), got {tuple(logits.shape)}"
    _assert_vectors(first_logit=logits[:, 0], action=action)
    return F.log_softmax(F.softmax(logits, dim=1), dim=1).gather(1, action.long().unsqueeze(1)).squeeze(1)


def actor_loss(log_prob: th.Tensor, advantage: th.Tensor) -> th.Tensor:
    r"""Compute :math:`-\frac1N \sum A \log \pi(a|s)`.

    Its gradient estimates :math:`-\sum_s d(s) \sum_a \nabla\pi(a|s)\, Q(s, a)`, where :math:`d(s)` is the share of the
    visits to s in the batch: the policy gradient theorem with the value as a baseline (Sutton & Barto, eq. 13.10), and
    with counted visits in place of discounted ones. No gradient flows through :math:`A`.

    :param log_prob: :math:`\log \pi(a|s)`, ``(N,)``
    :param advantage: :math:`A`, ``(N,)``
    :return: a scalar
    """
    _assert_vectors(log_prob=log_prob, advantage=advantage)
    return -(advantage.detach() * log_prob).mean()


def critic_loss(value: th.Tensor, target: th.Tensor) -> th.Tensor:
    r"""Compute :math:`\frac1N \sum (y - V(s))^2`. Descending it is semi-gradient TD(0) (Sutton & Barto, §9.3).

    No gradient flows through :math:`y`. A rate :math:`\alpha` of plain gradient descent is a step size of
    :math:`2\alpha/N` of TD(0).

    :param value: :math:`V(s)`, ``(N,)``
    :param target: :math:`y`, ``(N,)``
    :return: a scalar
    """
    _assert_vectors(value=value, target=target)
    return F.mse_loss(value, target.detach())


def _assert_vectors(**tensors: th.Tensor) -> None:
    """Assert that all tensors are vectors of one length."""
    n = next(iter(tensors.values())).shape[:1]
    for name, tensor in tensors.items():
        assert tensor.shape == n, f"{name}: expected a vector of shape {tuple(n)}, got {tuple(tensor.shape)}"
