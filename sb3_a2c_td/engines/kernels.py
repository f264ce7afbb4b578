"""The compiled kernels: one draws actions, one does a whole update.

A network of dense layers is a vector of layer widths (``int64``) and a flat float32 vector of parameters: for each
layer the weight ``(n_out, n_in)``, row by row as in ``torch.nn.Linear``, then the bias. The hidden layers have ReLU or
tanh, the last has none. Activations are held in ``(n_layers + 1, rows, max_width)``: first the inputs, then what each
layer gives.
"""

import math

import numba
import numpy as np

# no "nnan" and "ninf": a loss that is not finite must be seen
compiled = numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})

HALF_LOG_2PI = np.float32(0.5 * math.log(2 * math.pi))


@compiled
def forward(widths, params, use_tanh, n, activations):
    """Fill the activations of the first ``n`` rows from their inputs."""
    n_layers = len(widths) - 1
    offset = 0
    for layer in range(n_layers):
        n_in, n_out = widths[layer], widths[layer + 1]
        weight = params[offset : offset + n_out * n_in].reshape(n_out, n_in)
        bias = params[offset + n_out * n_in : offset + n_out * (n_in + 1)]
        offset += n_out * (n_in + 1)
        for row in range(n):
            x, y = activations[layer, row], activations[layer + 1, row]
            for o in range(n_out):
                total = bias[o]
                for i in range(n_in):
                    total += weight[o, i] * x[i]
                y[o] = total
            if layer < n_layers - 1:
                for o in range(n_out):
                    y[o] = np.float32(math.tanh(y[o])) if use_tanh else max(y[o], np.float32(0.0))


@compiled
def backward(widths, params, use_tanh, n, activations, deltas, grads):
    """Fill the gradients, from the loss's derivatives by the outputs in ``deltas``, ``(rows, max_width)``."""
    grads[:] = 0.0
    n_layers = len(widths) - 1
    offset = 0
    for layer in range(n_layers):
        offset += widths[layer + 1] * (widths[layer] + 1)
    below = np.empty(activations.shape[2], np.float32)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = widths[layer], widths[layer + 1]
        offset -= n_out * (n_in + 1)
        weight = params[offset : offset + n_out * n_in].reshape(n_out, n_in)
        weight_grad = grads[offset : offset + n_out * n_in].reshape(n_out, n_in)
        bias_grad = grads[offset + n_out * n_in : offset + n_out * (n_in + 1)]
        for row in range(n):
            x, delta = activations[layer, row], deltas[row]
            below[:n_in] = 0.0
            for o in range(n_out):
                d = delta[o]
                if d != 0.0:
                    bias_grad[o] += d
                    for i in range(n_in):
                        weight_grad[o, i] += d * x[i]
                        below[i] += d * weight[o, i]
            if layer > 0:
                for i in range(n_in):
                    slope = np.float32(1.0) - x[i] * x[i] if use_tanh else np.float32(x[i] > 0.0)
                    delta[i] = below[i] * slope


@compiled
def act(widths, params, use_tanh, continuous, observations, noise, activations, actions):
    """Draw one action a row: ``noise`` holds a uniform number for a discrete one, standard normals for the others.

    :param actions: ``(rows, action_dim)``, float32, or int64 for a discrete action; filled
    :return: whether all of the network's outputs are finite; if not, the actions mean nothing
    """
    n, n_outputs = len(observations), widths[-1]
    log_std = params[len(params) - n_outputs :]
    activations[0, :n, : widths[0]] = observations
    forward(widths, params, use_tanh, n, activations)
    outputs = activations[len(widths) - 1, :n, :n_outputs]
    for row in range(n):
        if continuous:
            for k in range(n_outputs):
                actions[row, k] = outputs[row, k] + np.float32(math.exp(log_std[k]) * noise[row, k])
        else:
            actions[row, 0] = inverse_cdf(outputs[row], noise[row, 0])
    return np.isfinite(outputs).all() and (not continuous or np.isfinite(actions[:n]).all())


@compiled
def inverse_cdf(logits, uniform):
    """Give the action at which the cumulative probabilities pass ``uniform``."""
    highest = logits.max()
    total = 0.0
    for logit in logits:
        total += math.exp(logit - highest)
    rest = uniform * total
    for k in range(len(logits) - 1):
        rest -= math.exp(logits[k] - highest)
        if rest < 0.0:
            return k
    return len(logits) - 1


@compiled
def update(
    actor_widths,
    critic_widths,
    n_actor,
    params,
    grads,
    exp_avg,
    exp_avg_sq,
    observations,
    next_observations,
    actions,
    rewards,
    terminated,
    truncated,
    activations,
    deltas,
    targets,
    values,
    use_tanh,
    continuous,
    gamma,
    reward_scale,
    bootstrap_on_truncation,
    double_softmax,
    ent_coef,
    max_grad_norm,
    normalize_advantage,
    actor_adam,
    critic_adam,
):
    """Take one step of both networks on one batch, in place, unless the loss or its gradient is not finite.

    The flat arrays hold the actor's ``n_actor`` numbers first (its layers, then log std), then the critic's.
    ``actor_adam`` and ``critic_adam`` are the last four arguments of :func:`adam`.

    :return: whether the step was taken; then the losses of actor, critic and entropy, the gradient's norm, mean and
        standard deviation of the TD error, and the explained variance
    """
    n, n_inputs, n_outputs = len(rewards), actor_widths[0], actor_widths[-1]
    actor, critic = params[:n_actor], params[n_actor:]
    actor_grad, critic_grad = grads[:n_actor], grads[n_actor:]

    # the critic sees [s; s'] in one pass
    activations[0, :n, :n_inputs] = observations
    activations[0, n : 2 * n, :n_inputs] = next_observations
    forward(critic_widths, critic, use_tanh, 2 * n, activations)
    value = activations[len(critic_widths) - 1]
    critic_loss = 0.0
    for row in range(n):
        ended = terminated[row] or (truncated[row] and not bootstrap_on_truncation)
        discount = np.float32(0.0) if ended else np.float32(gamma)
        values[row] = value[row, 0]
        targets[row] = np.float32(reward_scale) * rewards[row] + discount * value[n + row, 0]
        error = values[row] - targets[row]
        critic_loss += error * error
        deltas[row, 0] = np.float32(2.0) * error / np.float32(n)
    critic_loss /= n
    backward(critic_widths, critic, use_tanh, n, activations, deltas, critic_grad)

    td_error, td_error_std, explained = statistics(targets[:n], values[:n])
    shift, scale = 0.0, 1.0
    if normalize_advantage and n > 1:
        shift, scale = td_error, 1.0 / (td_error_std * math.sqrt(n / (n - 1.0)) + 1e-8)

    forward(actor_widths, actor, use_tanh, n, activations)
    output = activations[len(actor_widths) - 1]
    log_std = actor[n_actor - n_outputs :]
    log_std_grad = np.zeros(n_outputs, np.float32)
    actor_loss, entropy = 0.0, 0.0
    for row in range(n):
        weight = np.float32((targets[row] - values[row] - shift) * scale)
        if continuous:
            log_prob, row_entropy = gaussian(
                output[row, :n_outputs], log_std, actions[row], weight / n, deltas[row], log_std_grad
            )
        else:
            action = int(actions[row, 0])
            log_prob, row_entropy = categorical(
                output[row, :n_outputs], action, weight / n, ent_coef / n, double_softmax, deltas[row]
            )
        actor_loss -= weight * log_prob
        entropy += row_entropy
    actor_loss /= n
    entropy_loss = -entropy / n
    backward(actor_widths, actor, use_tanh, n, activations, deltas, actor_grad)
    if continuous:
        for k in range(n_outputs):
            actor_grad[n_actor - n_outputs + k] = log_std_grad[k] - np.float32(ent_coef)

    norm = 0.0
    for g in grads:
        norm += g * g
    norm = math.sqrt(norm)
    is_finite = math.isfinite(norm) and math.isfinite(actor_loss + critic_loss + ent_coef * entropy_loss)
    if is_finite:
        clip = np.float32(min(1.0, max_grad_norm / (norm + 1e-6)))
        adam(actor, actor_grad, exp_avg[:n_actor], exp_avg_sq[:n_actor], clip, *actor_adam)
        adam(critic, critic_grad, exp_avg[n_actor:], exp_avg_sq[n_actor:], clip, *critic_adam)
    return is_finite, actor_loss, critic_loss, entropy_loss, norm, td_error, td_error_std, explained


@compiled
def statistics(targets, values):
    """Give mean and standard deviation of ``targets - values``, and the share of the targets' variance explained."""
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
def categorical(logits, action, weight, ent_weight, double_softmax, delta):
    """Give ``log tau(a|s)`` (or the double softmax of it) and the entropy; fill the derivatives by the logits."""
    n_actions = len(logits)
    highest = logits.max()
    total = np.float32(0.0)
    for k in range(n_actions):
        total += np.float32(math.exp(logits[k] - highest))
    log_total = np.float32(math.log(total)) + highest
    entropy = np.float32(0.0)
    for k in range(n_actions):
        log_p = logits[k] - log_total
        entropy -= np.float32(math.exp(log_p)) * log_p
    log_prob = logits[action] - log_total
    if double_softmax:
        # the logits are now the probabilities p; d/dz_k = p_k (g_k - sum_j g_j p_j) brings g = d/dp back to z
        second = np.float32(0.0)
        for k in range(n_actions):
            second += np.float32(math.exp(math.exp(logits[k] - log_total)))
        log_second = np.float32(math.log(second))
        log_prob = np.float32(math.exp(log_prob)) - log_second
        mean = np.float32(0.0)
        for k in range(n_actions):
            p = np.float32(math.exp(logits[k] - log_total))
            g = np.float32(math.exp(p - log_second)) - np.float32(k == action)
            delta[k] = g
            mean += g * p
        for k in range(n_actions):
            delta[k] = weight * np.float32(math.exp(logits[k] - log_total)) * (delta[k] - mean)
    else:
        for k in range(n_actions):
            delta[k] = weight * (np.float32(math.exp(logits[k] - log_total)) - np.float32(k == action))
    for k in range(n_actions):
        log_p = logits[k] - log_total
        delta[k] += np.float32(ent_weight) * np.float32(math.exp(log_p)) * (log_p + entropy)
    return log_prob, entropy


@compiled
def gaussian(mean, log_std, action, weight, delta, log_std_grad):
    """Give ``log tau(a|s)`` and the entropy; fill the derivatives by the mean, add those by log std."""
    log_prob, entropy = np.float32(0.0), np.float32(0.0)
    for k in range(len(mean)):
        std = np.float32(math.exp(log_std[k]))
        z = (action[k] - mean[k]) / std
        log_prob -= np.float32(0.5) * z * z + log_std[k] + HALF_LOG_2PI
        entropy += np.float32(0.5) + HALF_LOG_2PI + log_std[k]
        delta[k] = -weight * z / std
        log_std_grad[k] -= weight * (z * z - np.float32(1.0))
    return log_prob, entropy


@compiled
def adam(params, grads, exp_avg, exp_avg_sq, clip, beta1, beta2, step_size, eps):
    """Take ``- step_size * exp_avg / (sqrt(exp_avg_sq) + eps)``, in place; the bias corrections are in the two numbers.

    :param clip: what to multiply the gradients by
    """
    rate1, rate2 = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    alpha, epsilon = np.float32(step_size), np.float32(eps)
    for i in range(len(params)):
        g = grads[i] * clip
        exp_avg[i] += rate1 * (g - exp_avg[i])
        exp_avg_sq[i] += rate2 * (g * g - exp_avg_sq[i])
        params[i] -= alpha * exp_avg[i] / (np.float32(math.sqrt(exp_avg_sq[i])) + epsilon)
