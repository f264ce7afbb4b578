"""The gradients of a plain MLP in closed form, in numpy: with small layers, PyTorch's graph takes most of the time.

All arrays are float32. A network is the list of its layers' parameters, as in ``torch.nn.Linear``: weight
``(n_out, n_in)``, bias ``(n_out,)``, and so on.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch as th

MASKED_LOGIT = -1e8
"""logit of an action that is not allowed, as in sb3-contrib: its probability is 0, and so is the logit's derivative"""
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
MIN_SIZE_FOR_TORCH = 2**14
"""numbers from which PyTorch's elementwise functions, four times as fast as numpy's, make up for the call"""


class Workspace:
    """Memory for the activations of a network, kept from batch to batch.

    Allocating and freeing large arrays takes longer than computing their contents.

    :param widths: of the layers' outputs
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self._widths = widths
        self._arrays: list[np.ndarray] = []

    def arrays(self, n: int) -> list[np.ndarray]:
        """Return an array ``(n, width)`` float32 for each layer; the next call may overwrite them."""
        if not self._arrays or len(self._arrays[0]) < n:
            self._arrays = [np.empty((n, width), np.float32) for width in self._widths]
        return [array[:n] for array in self._arrays]


def forward(
    network: list[np.ndarray], x: np.ndarray, use_tanh: bool, workspace: list[np.ndarray] | None = None
) -> list[np.ndarray]:
    r"""Compute :math:`h_{i+1} = \sigma(h_i W_i^\top + b_i)`, the last layer without :math:`\sigma`.

    :param network: weights and biases
    :param x: inputs :math:`h_0`, ``(N, n_in)``
    :param use_tanh: whether :math:`\sigma` is tanh, or else ReLU
    :param workspace: arrays for all :math:`h_i` but the first, see :class:`Workspace`; ``None``: new ones
    :return: all :math:`h_i`: the inputs first, the outputs last
    """
    h = [x]
    last = len(network) // 2 - 1
    for layer, (weight, bias) in enumerate(zip(network[::2], network[1::2], strict=True)):
        z = np.matmul(h[-1], weight.T, out=None if workspace is None else workspace[layer])
        z += bias
        if layer < last:
            _activate(z, use_tanh)
        h.append(z)
    return h


def _activate(z: np.ndarray, use_tanh: bool) -> None:
    if z.size > MIN_SIZE_FOR_TORCH:
        (th.tanh_ if use_tanh else th.relu_)(th.from_numpy(z))
    elif use_tanh:
        np.tanh(z, out=z)
    else:
        np.maximum(z, 0.0, out=z)


def backward(
    network: list[np.ndarray], h: list[np.ndarray], delta: np.ndarray, use_tanh: bool, grads: list[np.ndarray]
) -> None:
    """Compute the derivatives of a loss with respect to the parameters, from those with respect to the outputs.

    :param network: weights and biases
    :param h: what :func:`forward` returned
    :param delta: the derivatives with respect to the outputs, ``(N, n_out)``
    :param use_tanh: as in :func:`forward`
    :param grads: filled, in the order of ``network``
    """
    ones = np.ones(len(delta), np.float32)
    for layer in range(len(h) - 2, -1, -1):
        np.matmul(delta.T, h[layer], out=grads[2 * layer])
        # a sum over the rows, many times faster than numpy's
        np.matmul(ones, delta, out=grads[2 * layer + 1])
        if layer > 0:
            delta = delta @ network[2 * layer]
            delta *= 1 - h[layer] ** 2 if use_tanh else h[layer] > 0


def masked(logits: np.ndarray, action_masks: np.ndarray | None, masked_logit: float) -> np.ndarray:
    """Replace the logits of actions that are not allowed.

    :param logits: ``(N, n_actions)``
    :param action_masks: which actions are allowed, bool ``(N, n_actions)``; ``None``: all
    :param masked_logit: the logit of the others
    """
    return logits if action_masks is None else np.where(action_masks, logits, logits.dtype.type(masked_logit))


def categorical(
    logits: np.ndarray, actions: np.ndarray, double_softmax: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Compute :math:`\log p_a`, the entropy :math:`H`, and their derivatives with respect to the logits.

    :math:`\partial \log p_a / \partial z = e_a - p` and :math:`\partial H / \partial z = -p (\log p + H)`; with the
    double softmax, :math:`\log \operatorname{softmax}(p)_a` has :math:`g - p \, (g \cdot p)` with
    :math:`g = p \, (e_a - \operatorname{softmax}(p))` in place of the former.

    :param logits: ``(N, n_actions)``
    :param actions: integers, ``(N,)``
    :param double_softmax: see :func:`~sb3_a2c_td.losses.double_softmax_log_prob`
    :return: ``(N,)``, ``(N,)``, ``(N, n_actions)``, ``(N, n_actions)``
    """
    rows = np.arange(len(actions))
    # (n_actions, N): numpy reduces the first axis many times faster than a short last one
    log_probs = _log_softmax(np.ascontiguousarray(logits.T))
    probs = np.exp(log_probs)
    entropy = -np.add.reduce(probs * log_probs)
    d_entropy = -probs * (log_probs + entropy)
    if not double_softmax:
        score = -probs
        score[actions, rows] += 1.0
        return log_probs[actions, rows], entropy, score.T, d_entropy.T
    log_probs = _log_softmax(probs)
    score = -np.exp(log_probs)
    score[actions, rows] += 1.0
    score *= probs
    score -= probs * np.add.reduce(score)
    return log_probs[actions, rows], entropy, score.T, d_entropy.T


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Compute the log-softmax over the first axis."""
    shifted = logits - np.maximum.reduce(logits)
    shifted -= np.log(np.add.reduce(np.exp(shifted)))
    return shifted  # type: ignore[no-any-return]


def gaussian(
    mean: np.ndarray, log_std: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Compute the log-density of actions, the entropy, and the derivatives of the former in mean and log std.

    With :math:`\zeta = (a - \mu) / \sigma` these are :math:`\zeta / \sigma` and :math:`\zeta^2 - 1`. The entropy's
    derivative with respect to each log std is 1.

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


def adam(
    numbers: np.ndarray, betas: tuple[float, float], alpha_t: float, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Compute one step of Adam, as :func:`~sb3_a2c_td.optimizers.fused_adam` does.

    :param numbers: parameters, gradients, first and second moments, ``(4, n)``
    :param betas: decay rates of the two moments
    :param alpha_t: step size with the bias correction
    :param eps: :math:`\epsilon`
    :return: parameters, first and second moments after the step, each ``(n,)``
    """
    params, grads, exp_avg, exp_avg_sq = numbers
    new_avg = grads - exp_avg
    new_avg *= 1.0 - betas[0]
    new_avg += exp_avg
    new_avg_sq = grads * grads
    new_avg_sq -= exp_avg_sq
    new_avg_sq *= 1.0 - betas[1]
    new_avg_sq += exp_avg_sq
    root = np.sqrt(new_avg_sq)
    root += eps
    new_params = alpha_t * new_avg
    new_params /= root
    return np.subtract(params, new_params, out=new_params), new_avg, new_avg_sq
