"""Compiled kernels: two draw actions, one takes a whole update.

A network of dense layers is a vector of layer widths (int64) and a flat float32 vector of parameters: for each layer
the weight ``(n_out, n_in)``, row by row as in ``torch.nn.Linear``, then the bias. The hidden layers have ReLU or tanh,
the last has none. An actor of continuous actions has log std after its layers.
"""

import math

import numba
import numpy as np

from sb3_a2c_td.engines import mlp_gradients

# without "nnan" and "ninf", so that NaN and infinity are noticed
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
MASKED_LOGIT = np.float32(mlp_gradients.MASKED_LOGIT)
NO_MASKS = np.empty((0, 0), np.bool_)
HALF_LOG_2PI = np.float32(0.5 * math.log(2 * math.pi))


@compiled
def is_finite(x):
    """Check whether a number is neither infinite nor NaN.

    ``math.isfinite`` computes x - x, which "reassoc" simplifies to 0.
    """
    return abs(x) < math.inf


@compiled
def padded_shape(n, widths):
    """Return a shape for ``n`` rows of a network's activations: whole blocks of four rows, the widest layer."""
    widest = 0
    for width in widths:
        widest = max(widest, width)
    return (n + 3) // 4 * 4, widest


@compiled
def forward(widths, params, use_tanh, n, activations):
    """Fill the first ``n`` rows of ``activations``, ``(n_layers + 1, *padded_shape)``, from those of the inputs.

    A weight is loaded once for four rows. Rows from ``n`` on, up to a multiple of four, are padding.
    """
    n_layers = len(widths) - 1
    begin = 0
    for layer in range(n_layers):
        n_in, n_out = widths[layer], widths[layer + 1]
        bias = params[begin + n_out * n_in : begin + n_out * (n_in + 1)]
        x, y = activations[layer], activations[layer + 1]
        for row in range(0, n, 4):
            for o in range(n_out):
                weight = params[begin + o * n_in : begin + (o + 1) * n_in]
                total0 = total1 = total2 = total3 = bias[o]
                for i in range(n_in):
                    total0 += weight[i] * x[row, i]
                    total1 += weight[i] * x[row + 1, i]
                    total2 += weight[i] * x[row + 2, i]
                    total3 += weight[i] * x[row + 3, i]
                y[row, o], y[row + 1, o], y[row + 2, o], y[row + 3, o] = total0, total1, total2, total3
        if layer < n_layers - 1:
            for row in range(n):
                for o in range(n_out):
                    # this comparison keeps NaN
                    y[row, o] = (
                        np.float32(math.tanh(y[row, o])) if use_tanh else (ZERO if y[row, o] < ZERO else y[row, o])
                    )
        begin += n_out * (n_in + 1)


@compiled
def backward(widths, params, use_tanh, n, activations, deltas, grads):
    """Fill the gradients, from the derivatives with respect to the outputs in the first ``n`` rows of ``deltas``.

    ``deltas`` has the padded shape. Its padding is zero, and that of ``activations`` finite.
    """
    for i in range(len(grads)):
        grads[i] = ZERO
    n_layers = len(widths) - 1
    begin = n_parameters(widths)
    below = np.empty((4, deltas.shape[1]), np.float32)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = widths[layer], widths[layer + 1]
        begin -= n_out * (n_in + 1)
        bias_grad = grads[begin + n_out * n_in : begin + n_out * (n_in + 1)]
        x = activations[layer]
        for row in range(0, n, 4):
            below[:, :n_in] = ZERO
            for o in range(n_out):
                weight = params[begin + o * n_in : begin + (o + 1) * n_in]
                weight_grad = grads[begin + o * n_in : begin + (o + 1) * n_in]
                d0, d1, d2, d3 = deltas[row, o], deltas[row + 1, o], deltas[row + 2, o], deltas[row + 3, o]
                bias_grad[o] += d0 + d1 + d2 + d3
                for i in range(n_in):
                    weight_grad[i] += d0 * x[row, i] + d1 * x[row + 1, i] + d2 * x[row + 2, i] + d3 * x[row + 3, i]
                if layer > 0:
                    for i in range(n_in):
                        below[0, i] += d0 * weight[i]
                        below[1, i] += d1 * weight[i]
                        below[2, i] += d2 * weight[i]
                        below[3, i] += d3 * weight[i]
            if layer > 0:
                for k in range(4):
                    for i in range(n_in):
                        y = x[row + k, i]
                        slope = ONE - y * y if use_tanh else np.float32(y > ZERO)
                        deltas[row + k, i] = below[k, i] * slope


@compiled
def n_parameters(widths):
    """Count the weights and biases of a network."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer + 1] * (widths[layer] + 1)
    return total


@compiled
def network_outputs(widths, params, use_tanh, observations):
    """Compute a network's outputs, in the padded shape, and whether all of them are finite."""
    n = len(observations)
    n_rows, width = padded_shape(n, widths)
    activations = np.empty((len(widths), n_rows, width), np.float32)
    fill(activations[0], observations)
    forward(widths, params, use_tanh, n, activations)
    outputs = activations[len(widths) - 1]
    are_finite = True
    for row in range(n):
        for o in range(widths[-1]):
            are_finite = are_finite and is_finite(outputs[row, o])
    return outputs, are_finite


@compiled
def fill(array, rows):
    """Copy rows to the beginning of a larger array, and fill the rest with zeros."""
    for row in range(len(array)):
        for i in range(rows.shape[1]):
            array[row, i] = rows[row, i] if row < len(rows) else ZERO


@compiled
def mask(logits, action_masks, masked_logit):
    """Replace the logits of actions that are not allowed; with ``NO_MASKS``, all are allowed."""
    for row in range(len(action_masks)):
        for k in range(action_masks.shape[1]):
            if not action_masks[row, k]:
                logits[row, k] = masked_logit


@compiled
def draw_categorical(widths, params, use_tanh, observations, gumbels, action_masks):
    """Draw an action for every row, where the sum of logit and Gumbel noise is highest.

    :param gumbels: Gumbel noise, ``(rows, n_actions)`` float64
    :param action_masks: which are allowed, bool ``(rows, n_actions)``, or ``NO_MASKS``
    :return: ``(rows,)`` int64, and whether the logits were finite; if not, the actions are meaningless
    """
    outputs, are_finite = network_outputs(widths, params, use_tanh, observations)
    mask(outputs, action_masks, np.float32(-math.inf))
    actions = np.empty(len(observations), np.int64)
    for row in range(len(observations)):
        highest = -math.inf
        actions[row] = 0
        for k in range(widths[-1]):
            perturbed = outputs[row, k] + gumbels[row, k]
            if perturbed > highest:
                actions[row], highest = k, perturbed
    return actions, are_finite


@compiled
def draw_categorical_unmasked(widths, params, use_tanh, observations, gumbels):
    """Draw an action for every row, where all are allowed; see :func:`draw_categorical`."""
    return draw_categorical(widths, params, use_tanh, observations, gumbels, NO_MASKS)


@compiled
def draw_gaussian(widths, params, use_tanh, observations, normals):
    """Draw an action for every row from a diagonal Gaussian: mean + std * noise.

    :param normals: standard normals, ``(rows, action_dim)`` float64
    :return: ``(rows, action_dim)`` float32, and whether all numbers were finite; if not, the actions are meaningless
    """
    outputs, are_finite = network_outputs(widths, params, use_tanh, observations)
    action_dim = widths[-1]
    log_std = params[len(params) - action_dim :]
    actions = np.empty((len(observations), action_dim), np.float32)
    for row in range(len(observations)):
        for k in range(action_dim):
            actions[row, k] = outputs[row, k] + np.float32(math.exp(log_std[k])) * np.float32(normals[row, k])
            are_finite = are_finite and is_finite(actions[row, k])
    return actions, are_finite


@compiled
def update(
    actor_widths,
    critic_widths,
    n_actor,
    flat,
    use_tanh,
    continuous,
    observations,
    actions,
    action_masks,
    rewards,
    next_observations,
    terminated,
    truncated,
    config,
    actor_adam,
    critic_adam,
):
    """Take one step of both networks on one batch, in place, unless the loss, its gradient or the result is not finite.

    :param flat: ``(4, n_params)``: parameters, gradients (filled), and the two moments of Adam; the actor's
        ``n_actor`` columns come first, then the critic's
    :param action_masks: which were allowed, bool ``(rows, n_actions)``, or ``NO_MASKS``
    :param config: the fields of ``LossConfig``
    :param actor_adam: the last three arguments of :func:`adam`
    :param critic_adam: the same for the critic
    :return: whether the loss and its gradient were finite, and whether the step was taken; targets and values,
        ``(rows,)``; the losses of actor, critic and entropy, the gradient's norm, and the TD statistics
    """
    gamma, reward_scale, bootstrap_on_truncation, double_softmax, ent_coef, max_grad_norm, normalize = config
    n, n_outputs = len(rewards), actor_widths[-1]
    actor, critic = flat[0, :n_actor], flat[0, n_actor:]
    actor_grad, critic_grad = flat[1, :n_actor], flat[1, n_actor:]
    n_rows, actor_width = padded_shape(n, actor_widths)
    n_critic_rows, critic_width = padded_shape(2 * n, critic_widths)
    width = max(actor_width, critic_width)
    activations = np.empty((max(len(actor_widths), len(critic_widths)), n_critic_rows, width), np.float32)
    deltas = np.zeros((n_rows, width), np.float32)

    # the critic sees [s; s'] in one pass
    fill(activations[0], observations)
    fill(activations[0, n:], next_observations)
    forward(critic_widths, critic, use_tanh, 2 * n, activations)
    outputs = activations[len(critic_widths) - 1]
    targets, values = np.empty(n, np.float32), np.empty(n, np.float32)
    critic_loss = 0.0
    for row in range(n):
        ended = terminated[row] or (truncated[row] and not bootstrap_on_truncation)
        discount = ZERO if ended else np.float32(gamma)
        values[row] = outputs[row, 0]
        targets[row] = np.float32(reward_scale) * rewards[row] + discount * outputs[n + row, 0]
        error = values[row] - targets[row]
        critic_loss += error * error
        deltas[row, 0] = TWO * error / np.float32(n)
    critic_loss /= n
    backward(critic_widths, critic, use_tanh, n, activations, deltas, critic_grad)

    td_error, td_error_std, explained = statistics(targets, values)
    shift, scale = 0.0, 1.0
    if normalize and n > 1:
        shift, scale = td_error, 1.0 / (td_error_std * math.sqrt(n / (n - 1.0)) + 1e-8)

    fill(activations[0, :n_rows], observations)
    forward(actor_widths, actor, use_tanh, n, activations)
    outputs = activations[len(actor_widths) - 1]
    mask(outputs, action_masks, MASKED_LOGIT)
    log_std = actor[n_actor - n_outputs :]
    log_std_grad = np.zeros(n_outputs, np.float32)
    actor_loss, entropy = 0.0, 0.0
    for row in range(n):
        advantage = np.float32((targets[row] - values[row] - shift) * scale)
        if continuous:
            log_prob, row_entropy = gaussian(
                outputs[row, :n_outputs], log_std, actions[row], advantage / n, deltas[row], log_std_grad
            )
        else:
            log_prob, row_entropy = categorical(
                outputs[row, :n_outputs], int(actions[row, 0]), advantage / n, ent_coef / n, double_softmax, deltas[row]
            )
        actor_loss -= advantage * log_prob
        entropy += row_entropy
    actor_loss /= n
    entropy_loss = -entropy / n
    backward(actor_widths, actor, use_tanh, n, activations, deltas, actor_grad)
    if continuous:
        for k in range(n_outputs):
            actor_grad[n_actor - n_outputs + k] = log_std_grad[k] - np.float32(ent_coef)

    norm = 0.0
    for g in flat[1]:
        norm += g * g
    norm = math.sqrt(norm)
    losses_are_finite = is_finite(actor_loss) and is_finite(critic_loss) and is_finite(ent_coef * entropy_loss)
    is_due = is_taken = losses_are_finite and is_finite(norm)
    if is_due:
        if max_grad_norm < norm + 1e-6:
            for i in range(flat.shape[1]):
                flat[1, i] *= np.float32(max_grad_norm / (norm + 1e-6))
        # computing it twice takes less time than keeping the first result, or what it replaces
        is_taken = stays_finite(actor, actor_grad, flat[2, :n_actor], flat[3, :n_actor], *actor_adam)
        is_taken &= stays_finite(critic, critic_grad, flat[2, n_actor:], flat[3, n_actor:], *critic_adam)
    if is_taken:
        adam(actor, actor_grad, flat[2, :n_actor], flat[3, :n_actor], *actor_adam)
        adam(critic, critic_grad, flat[2, n_actor:], flat[3, n_actor:], *critic_adam)
    metrics = (actor_loss, critic_loss, entropy_loss, norm, td_error, td_error_std, explained)
    return is_due, is_taken, targets, values, metrics


@compiled
def statistics(targets, values):
    """Compute mean and standard deviation of ``targets - values``, and the explained variance."""
    n = len(targets)
    mean_error, mean_target = 0.0, 0.0
    for row in range(n):
        mean_error += targets[row] - values[row]
        mean_target += targets[row]
    mean_error /= n
    mean_target /= n
    var_error, var_target = 0.0, 0.0
    for row in range(n):
        var_error += (targets[row] - values[row] - mean_error) ** 2
        var_target += (targets[row] - mean_target) ** 2
    explained = math.nan if var_target == 0.0 else 1.0 - var_error / var_target
    return mean_error, math.sqrt(var_error / n), explained


@compiled
def categorical(logits, action, advantage, ent_coef, double_softmax, delta):
    """Compute ``log pi(a|s)`` (or its double softmax) and the entropy; fill the loss's derivatives in the logits.

    :param advantage: the advantage, divided by the number of rows
    :param ent_coef: the entropy coefficient, divided by the number of rows
    :raises IndexError: if there is no such action
    """
    n_actions = len(logits)
    if not 0 <= action < n_actions:
        raise IndexError("actions: an action lies outside the action space")
    highest = logits[0]
    for logit in logits:
        highest = max(highest, logit)
    total = ZERO
    for k in range(n_actions):
        total += np.float32(math.exp(logits[k] - highest))
    log_total = np.float32(math.log(total)) + highest
    entropy = ZERO
    for k in range(n_actions):
        log_p = logits[k] - log_total
        entropy -= np.float32(math.exp(log_p)) * log_p
    log_prob = logits[action] - log_total
    if double_softmax:
        # the logits are now the probabilities p; d/dz_k = p_k (g_k - sum_j g_j p_j) brings g = d/dp back to z
        second = ZERO
        for k in range(n_actions):
            second += np.float32(math.exp(math.exp(logits[k] - log_total)))
        log_second = np.float32(math.log(second))
        log_prob = np.float32(math.exp(log_prob)) - log_second
        mean = ZERO
        for k in range(n_actions):
            p = np.float32(math.exp(logits[k] - log_total))
            delta[k] = np.float32(math.exp(p - log_second)) - np.float32(k == action)
            mean += delta[k] * p
        for k in range(n_actions):
            delta[k] = advantage * np.float32(math.exp(logits[k] - log_total)) * (delta[k] - mean)
    else:
        for k in range(n_actions):
            delta[k] = advantage * (np.float32(math.exp(logits[k] - log_total)) - np.float32(k == action))
    for k in range(n_actions):
        log_p = logits[k] - log_total
        delta[k] += np.float32(ent_coef) * np.float32(math.exp(log_p)) * (log_p + entropy)
    return log_prob, entropy


@compiled
def gaussian(mean, log_std, action, advantage, delta, log_std_grad):
    """Compute ``log pi(a|s)`` and the entropy; fill the loss's derivatives in the mean, add those in log std.

    :param advantage: the advantage, divided by the number of rows
    """
    log_prob, entropy = ZERO, ZERO
    for k in range(len(mean)):
        std = np.float32(math.exp(log_std[k]))
        z = (action[k] - mean[k]) / std
        log_prob -= HALF * z * z + log_std[k] + HALF_LOG_2PI
        entropy += HALF + HALF_LOG_2PI + log_std[k]
        delta[k] = -advantage * z / std
        log_std_grad[k] -= advantage * (z * z - ONE)
    return log_prob, entropy


@compiled
def adam(params, grads, exp_avg, exp_avg_sq, betas, alpha_t, eps):
    """Take one step of Adam, in place, as :func:`~sb3_a2c_td.optimizers.fused_adam` does."""
    for i in range(len(params)):
        params[i], exp_avg[i], exp_avg_sq[i] = stepped(
            params[i], grads[i], exp_avg[i], exp_avg_sq[i], betas, alpha_t, eps
        )


@compiled
def stays_finite(params, grads, exp_avg, exp_avg_sq, betas, alpha_t, eps):
    """Check whether the parameters would be finite after :func:`adam`."""
    are_finite = True
    for i in range(len(params)):
        param, _, _ = stepped(params[i], grads[i], exp_avg[i], exp_avg_sq[i], betas, alpha_t, eps)
        are_finite &= is_finite(param)
    return are_finite


@compiled
def stepped(param, grad, exp_avg, exp_avg_sq, betas, alpha_t, eps):
    """Return a parameter and its moments after one step."""
    exp_avg += np.float32(1.0 - betas[0]) * (grad - exp_avg)
    exp_avg_sq += np.float32(1.0 - betas[1]) * (grad * grad - exp_avg_sq)
    param -= np.float32(alpha_t) * exp_avg / (np.float32(math.sqrt(exp_avg_sq)) + np.float32(eps))
    return param, exp_avg, exp_avg_sq
