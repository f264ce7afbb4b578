"""The gradients of a plain MLP in closed form, in numpy: for small layers most of PyTorch's time goes into its graph.

All arrays are float32. A network is the list of its layers' parameters, as in ``torch.nn.Linear``: weight
``(n_out, n_in)``, bias ``(n_out,)``, and so on.
"""

import math

import numpy as np

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def forward(network: list[np.ndarray], x: np.ndarray, use_tanh: bool) -> list[np.ndarray]:
    r"""Compute :math:`h_{i+1} = \sigma(h_i W_i^\top + b_i)`, the last layer without :math:`\sigma`.

    :param network: weights and biases
    :param x: inputs :math:`h_0`, ``(N, n_in)``
    :param use_tanh: whether :math:`\sigma` is tanh, or else ReLU
    :return: all :math:`h_i`: the inputs first, the outputs last
    """
    h = [x]
    for weight, bias in zip(network[:-2:2], network[1:-2:2], strict=True):
        z = h[-1] @ weight.T
        z += bias
        h.append(np.tanh(z, out=z) if use_tanh else np.maximum(z, 0.0, out=z))
    h.append(h[-1] @ network[-2].T + network[-1])
    return h


def backward(
    network: list[np.ndarray], h: list[np.ndarray], delta: np.ndarray, use_tanh: bool, grads: list[np.ndarray]
) -> None:
    """Compute a loss's derivatives by the parameters from those by the outputs.

    :param network: weights and biases
    :param h: what :func:`forward` returned
    :param delta: the loss's derivatives by the outputs, ``(N, n_out)``
    :param use_tanh: as in :func:`forward`
    :param grads: filled, in the order of ``network``
    """
    for layer in range(len(h) - 2, -1, -1):
        np.matmul(delta.T, h[layer], out=grads[2 * layer])
        np.add.reduce(delta, axis=0, out=grads[2 * layer + 1])
        if layer > 0:
            delta = delta @ network[2 * layer]
            delta *= 1 - h[layer] ** 2 if use_tanh else h[layer] > 0


def categorical(
    logits: np.ndarray, actions: np.ndarray, double_softmax: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Compute :math:`\log p_a`, the entropy :math:`H`, and their derivatives by the logits.

    :math:`\partial \log p_a / \partial z = e_a - p` and :math:`\partial H / \partial z = -p (\log p + H)`; with the
    double softmax, :math:`\log \operatorname{softmax}(p)_a` has :math:`g - p \, (g \cdot p)` with
    :math:`g = p \, (e_a - \operatorname{softmax}(p))` in place of the former.

    :param logits: ``(N, n_actions)``
    :param actions: integers, ``(N,)``
    :param double_softmax: see :func:`~sb3_a2c_td.functional.double_softmax_log_prob`
    :return: ``(N,)``, ``(N,)``, ``(N, n_actions)``, ``(N, n_actions)``
    """
    rows = np.arange(len(actions))
    log_probs = _log_softmax(logits)
    probs = np.exp(log_probs)
    entropy = -np.add.reduce(probs * log_probs, axis=1)
    d_entropy = -probs * (log_probs + entropy[:, None])
    if not double_softmax:
        score = -probs
        score[rows, actions] += 1.0
        return log_probs[rows, actions], entropy, score, d_entropy
    log_probs = _log_softmax(probs)
    score = -np.exp(log_probs)
    score[rows, actions] += 1.0
    score *= probs
    score -= probs * np.add.reduce(score, axis=1)[:, None]
    return log_probs[rows, actions], entropy, score, d_entropy


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - np.maximum.reduce(logits, axis=1)[:, None]
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis=1))[:, None]
    return shifted  # type: ignore[no-any-return]


def gaussian(
    mean: np.ndarray, log_std: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Compute the log-density of actions, the entropy, and the former's derivatives by mean and log std.

    With :math:`\zeta = (a - \mu) / \sigma` these are :math:`\zeta / \sigma` and :math:`\zeta^2 - 1`. The entropy's
    derivative by each log std is 1.

    :param mean: ``(N, action_dim)``
    :param log_std: ``(action_dim,)``
    :param actions: ``(N, action_dim)``
    :return: ``(N,)``, ``(N,)``, ``(N, action_dim)``, ``(N, action_dim)``
    """
    std = np.exp(log_std)
    zeta = (actions - mean) / std
    squared = zeta * zeta
    log_prob = np.add.reduce(-0.5 * squared - log_std - HALF_LOG_2PI, axis=1)
    entropy = np.full(len(mean), np.add.reduce(log_std + (0.5 + HALF_LOG_2PI)), np.float32)
    return log_prob, entropy, zeta / std, squared - 1.0


def adam(numbers: np.ndarray, betas: tuple[float, float], alpha_t: float, eps: float) -> None:
    r"""Take one step of Adam, in place, as :func:`~sb3_a2c_td.optimizers.fused_adam` does.

    :param numbers: parameters, gradients, first and second moments, ``(4, n)``
    :param betas: decay rates of the two moments
    :param alpha_t: step size with the bias correction
    :param eps: :math:`\epsilon`
    """
    params, grads, exp_avg, exp_avg_sq = numbers
    exp_avg += (1.0 - betas[0]) * (grads - exp_avg)
    exp_avg_sq += (1.0 - betas[1]) * (grads * grads - exp_avg_sq)
    root = np.sqrt(exp_avg_sq)
    root += eps
    params -= alpha_t * exp_avg / root
