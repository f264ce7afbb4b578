"""Compiled kernels: three draw actions, one takes a whole update.

A network of dense layers is a vector of layer widths (int64) and a flat float32 vector of parameters: for each layer
the weight ``(n_out, n_in)``, row by row as in ``torch.nn.Linear``, then the bias. The hidden layers have ReLU or tanh,
the last has none. An actor of continuous actions has log std after its layers.

Rows are computed in blocks, and lie in lanes: each feature has an array of as many numbers as there are rows in the
block, rounded up to whole registers. So all loops vectorize, whatever the widths are.
"""

import math

import numpy as np

from sb3_a2c_td.engines import lanes as lanes_module
from sb3_a2c_td.engines import mlp_gradients
from sb3_a2c_td.engines.kernel_cache import kernel_compiler
from sb3_a2c_td.engines.lanes import LANES, add, load, multiply_add, number, repeat, store, totals

# without "nnan" and "ninf", so that NaN and infinity are noticed
compiled = kernel_compiler(lanes_module, mlp_gradients, fastmath={"reassoc", "contract", "arcp", "nsz"})

BLOCK = 256
"""rows computed at a time, so that their activations stay in the cache"""
ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
TINY = np.float32(1e-30)
"""smaller moments and derivatives move no parameter: they become zeros"""
SAFE = np.float32(1e30)
"""finite numbers that add up to less can be added in float32"""
TANH_END = 9.0
TANH_NUMERATOR = np.array(
    [0.9999999772146778, 0.13374479737136702, 3.487816344440122e-3, 2.0481269078152964e-5, 1.3177626509403056e-8]
)
TANH_DENOMINATOR = np.array(
    [1.0, 0.4670779352159028, 2.5847409007679463e-2, 3.272928648876608e-4, 7.704090907005258e-7]
)
MASKED_LOGIT = np.float32(mlp_gradients.MASKED_LOGIT)
ZEROS = np.zeros(1, np.float32)
NO_MASKS = np.empty((0, 0), np.bool_)
HALF_LOG_2PI = np.float32(0.5 * math.log(2 * math.pi))


@compiled
def is_finite(x):
    """Check whether a number is neither infinite nor NaN.

    ``math.isfinite`` computes x - x, which "reassoc" simplifies to 0.
    """
    return abs(x) < math.inf


@compiled
def n_parameters(widths):
    """Count the weights and biases of a network."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer + 1] * (widths[layer] + 1)
    return total


@compiled
def n_features(widths):
    """Count the inputs and the outputs of all layers."""
    total = 0
    for width in widths:
        total += width
    return total


@compiled
def n_lanes(n):
    """Round a number of rows up to whole registers."""
    return (n + LANES - 1) // LANES * LANES


@compiled
def forward(widths, params, use_tanh, rows):
    """Compute a network's activations for a block of rows, which lie in lanes: row ``r`` is ``[r::lanes]``.

    The lanes from ``len(rows)`` on are padding, whose inputs are zeros.

    :return: the inputs, then the outputs of each layer, ``(n_features, lanes)``, flat
    """
    lanes = n_lanes(len(rows))
    activations = np.empty(n_features(widths) * lanes, np.float32)
    transpose(rows, activations, lanes)
    n_layers = len(widths) - 1
    begin, x_begin = 0, 0
    for layer in range(n_layers):
        n_in, n_out = widths[layer], widths[layer + 1]
        bias_begin, y_begin = begin + n_out * n_in, x_begin + n_in * lanes
        combine(params, begin, n_in, 1, params, bias_begin, n_out, n_in, activations, x_begin, y_begin, lanes)
        if layer < n_layers - 1:
            activate(activations, y_begin, n_out * lanes, use_tanh)
        begin, x_begin = bias_begin + n_out, y_begin
    return activations


@compiled
def transpose(rows, x, lanes):
    """Copy rows into lanes, and fill the other lanes with zeros."""
    for i in range(rows.shape[1]):
        for row in range(len(rows)):
            x[i * lanes + row] = rows[row, i]
        for lane in range(len(rows), lanes):
            x[i * lanes + lane] = ZERO


@compiled
def combine(
    weights, begin, row_step, column_step, starts, starts_begin, n_rows, n_columns, features, x_begin, y_begin, lanes
):
    """Compute ``y = starts + W x``, lane by lane.

    :param weights: contains ``W`` from ``begin`` on; ``row_step`` leads to its next row, ``column_step`` to its next
        column
    :param starts: contains ``(n_rows,)`` numbers from ``starts_begin`` on
    :param features: contains ``x``, ``(n_columns, lanes)``, from ``x_begin`` on; ``y``, ``(n_rows, lanes)``, is
        written from ``y_begin`` on
    """
    n_tiled = n_rows // 8 * 8
    for row in range(0, n_tiled, 8):
        start, w_begin, to = starts_begin + row, begin + row * row_step, y_begin + row * lanes
        for lane in range(0, lanes, LANES):
            # eight independent sums hide the latency of each
            y0 = repeat(starts, start)
            y1 = repeat(starts, start + 1)
            y2 = repeat(starts, start + 2)
            y3 = repeat(starts, start + 3)
            y4 = repeat(starts, start + 4)
            y5 = repeat(starts, start + 5)
            y6 = repeat(starts, start + 6)
            y7 = repeat(starts, start + 7)
            for column in range(n_columns):
                at = w_begin + column * column_step
                c = load(features, x_begin + column * lanes + lane)
                y0 = multiply_add(repeat(weights, at), c, y0)
                y1 = multiply_add(repeat(weights, at + row_step), c, y1)
                y2 = multiply_add(repeat(weights, at + 2 * row_step), c, y2)
                y3 = multiply_add(repeat(weights, at + 3 * row_step), c, y3)
                y4 = multiply_add(repeat(weights, at + 4 * row_step), c, y4)
                y5 = multiply_add(repeat(weights, at + 5 * row_step), c, y5)
                y6 = multiply_add(repeat(weights, at + 6 * row_step), c, y6)
                y7 = multiply_add(repeat(weights, at + 7 * row_step), c, y7)
            store(features, to + lane, y0)
            store(features, to + lane + lanes, y1)
            store(features, to + lane + 2 * lanes, y2)
            store(features, to + lane + 3 * lanes, y3)
            store(features, to + lane + 4 * lanes, y4)
            store(features, to + lane + 5 * lanes, y5)
            store(features, to + lane + 6 * lanes, y6)
            store(features, to + lane + 7 * lanes, y7)
    for row in range(n_tiled, n_rows):
        for lane in range(0, lanes, LANES):
            y0 = repeat(starts, starts_begin + row)
            for column in range(n_columns):
                c = load(features, x_begin + column * lanes + lane)
                y0 = multiply_add(repeat(weights, begin + row * row_step + column * column_step), c, y0)
            store(features, y_begin + row * lanes + lane, y0)


@compiled
def activate(features, begin, size, use_tanh):
    """Apply tanh or ReLU in place."""
    y = features[begin : begin + size]
    if use_tanh:
        for k in range(len(y)):
            y[k] = tanh(y[k])
    else:
        for k in range(len(y)):
            # this comparison keeps NaN
            y[k] = ZERO if y[k] < ZERO else y[k]


@compiled
def tanh(x):
    """Compute tanh by a rational function, which LLVM vectorizes; NaN stays NaN.

    Its coefficients were fitted to the smallest relative error up to ``TANH_END``, where tanh is 1 in float32. It is
    computed in float64, since in float32 its own rounding would be several times that of the result.
    """
    x = np.float64(x)
    x = TANH_END if x > TANH_END else x
    x = -TANH_END if x < -TANH_END else x
    square = x * x
    numerator = TANH_NUMERATOR[4]
    denominator = TANH_DENOMINATOR[4]
    for k in range(3, -1, -1):
        numerator = numerator * square + TANH_NUMERATOR[k]
        denominator = denominator * square + TANH_DENOMINATOR[k]
    return np.float32(x * numerator / denominator)


@compiled
def backward(widths, params, use_tanh, activations, deltas, grads):
    """Add the gradients, from the derivatives with respect to the outputs.

    :param activations: what :func:`forward` returned
    :param deltas: the derivatives, of the shape of ``activations``: those with respect to the outputs are given, and
        are zeros for padding
    :param grads: the gradients so far
    """
    lanes = len(activations) // n_features(widths)
    zeros = np.zeros(n_features(widths), np.float32)
    end, y_begin = n_parameters(widths), len(activations) - widths[-1] * lanes
    for layer in range(len(widths) - 2, -1, -1):
        n_in, n_out = widths[layer], widths[layer + 1]
        begin, x_begin = end - n_out * (n_in + 1), y_begin - n_in * lanes
        add_gradient(deltas, y_begin, activations, x_begin, grads, begin, n_out, n_in, lanes)
        if layer > 0:
            combine(params, begin, 1, n_in, zeros, 0, n_in, n_out, deltas, y_begin, x_begin, lanes)
            multiply_slope(deltas, activations, x_begin, n_in * lanes, use_tanh)
        end, y_begin = begin, x_begin


@compiled
def multiply_slope(deltas, activations, begin, size, use_tanh):
    """Multiply derivatives with respect to the outputs of tanh or ReLU by its slope."""
    delta, y = deltas[begin : begin + size], activations[begin : begin + size]
    if use_tanh:
        for k in range(size):
            delta[k] *= ONE - y[k] * y[k]
    else:
        for k in range(size):
            delta[k] *= np.float32(y[k] > ZERO)


@compiled
def add_gradient(deltas, y_begin, activations, x_begin, grads, begin, n_out, n_in, lanes):
    """Add a layer's gradient, from the derivatives with respect to its outputs and from its inputs."""
    last = x_begin + (n_in - 1) * lanes
    for o in range(n_out):
        g = repeat(ZEROS, 0)
        for lane in range(0, lanes, LANES):
            g = add(load(deltas, y_begin + o * lanes + lane), g)
        grads[begin + n_out * n_in + o] += number(totals(g, g, g, g, g, g, g, g), 0)
    for i in range(0, n_in, 8):
        # of fewer than eight inputs, the last is taken repeatedly
        x0 = x_begin + i * lanes
        x1 = min(x0 + lanes, last)
        x2 = min(x1 + lanes, last)
        x3 = min(x2 + lanes, last)
        x4 = min(x3 + lanes, last)
        x5 = min(x4 + lanes, last)
        x6 = min(x5 + lanes, last)
        x7 = min(x6 + lanes, last)
        for o in range(n_out):
            g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = repeat(ZEROS, 0)
            for lane in range(0, lanes, LANES):
                d = load(deltas, y_begin + o * lanes + lane)
                g0 = multiply_add(load(activations, x0 + lane), d, g0)
                g1 = multiply_add(load(activations, x1 + lane), d, g1)
                g2 = multiply_add(load(activations, x2 + lane), d, g2)
                g3 = multiply_add(load(activations, x3 + lane), d, g3)
                g4 = multiply_add(load(activations, x4 + lane), d, g4)
                g5 = multiply_add(load(activations, x5 + lane), d, g5)
                g6 = multiply_add(load(activations, x6 + lane), d, g6)
                g7 = multiply_add(load(activations, x7 + lane), d, g7)
            sums, to = totals(g0, g1, g2, g3, g4, g5, g6, g7), begin + o * n_in + i
            if i + 8 <= n_in:
                store(grads, to, add(load(grads, to), sums))
            else:
                for k in range(n_in - i):
                    grads[to + k] += number(sums, k)


@compiled
def network_outputs(widths, params, use_tanh, rows):
    """Compute a network's outputs for a block of rows, ``(n_outputs, lanes)``, flat, and whether they are finite."""
    lanes = n_lanes(len(rows))
    outputs = forward(widths, params, use_tanh, rows)[-widths[-1] * lanes :]
    are_finite = True
    for begin in range(0, len(outputs), lanes):
        for k in range(begin, begin + len(rows)):
            are_finite &= is_finite(outputs[k])
    return outputs, are_finite


@compiled
def mask(logits, allowed, masked_logit):
    """Replace the logits of actions that are not allowed."""
    for k in range(len(logits)):
        if not allowed[k]:
            logits[k] = masked_logit


@compiled
def draw_categorical(widths, params, use_tanh, observations, gumbels, action_masks):
    """Draw an action for every row, where the sum of logit and Gumbel noise is highest.

    :param gumbels: Gumbel noise, ``(rows, n_actions)`` float64
    :param action_masks: which are allowed, bool ``(rows, n_actions)``, or ``NO_MASKS``
    :return: ``(rows,)`` int64, and whether the logits were finite; if not, the actions are meaningless
    """
    n = len(observations)
    actions = np.empty(n, np.int64)
    all_finite = True
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        outputs, are_finite = network_outputs(widths, params, use_tanh, observations[begin:end])
        all_finite &= are_finite
        for row in range(begin, end):
            logits = outputs[row - begin :: n_lanes(end - begin)]
            if len(action_masks) > 0:
                mask(logits, action_masks[row], np.float32(-math.inf))
            highest = -math.inf
            actions[row] = 0
            for k in range(len(logits)):
                perturbed = logits[k] + gumbels[row, k]
                if perturbed > highest:
                    actions[row], highest = k, perturbed
    return actions, all_finite


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
    n, action_dim = len(observations), widths[-1]
    std = np.exp(params[len(params) - action_dim :])
    actions = np.empty((n, action_dim), np.float32)
    all_finite = True
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        outputs, are_finite = network_outputs(widths, params, use_tanh, observations[begin:end])
        all_finite &= are_finite
        for row in range(begin, end):
            mean = outputs[row - begin :: n_lanes(end - begin)]
            for k in range(action_dim):
                actions[row, k] = mean[k] + std[k] * np.float32(normals[row, k])
                all_finite &= is_finite(actions[row, k])
    return actions, all_finite


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
    targets, values = np.empty(n, np.float32), np.empty(n, np.float32)
    flat[1] = ZERO

    critic_loss = 0.0
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        lanes = n_lanes(end - begin)
        next_values = forward(critic_widths, critic, use_tanh, next_observations[begin:end])[-lanes:]
        for row in range(begin, end):
            ended = terminated[row] or (truncated[row] and not bootstrap_on_truncation)
            discount = ZERO if ended else np.float32(gamma)
            targets[row] = np.float32(reward_scale) * rewards[row] + discount * next_values[row - begin]
        activations = forward(critic_widths, critic, use_tanh, observations[begin:end])
        outputs, deltas = activations[-lanes:], np.zeros(len(activations), np.float32)
        delta = deltas[-lanes:]
        for row in range(begin, end):
            values[row] = outputs[row - begin]
            error = values[row] - targets[row]
            critic_loss += error * error
            delta[row - begin] = TWO * error / np.float32(n)
        backward(critic_widths, critic, use_tanh, activations, deltas, critic_grad)
    critic_loss /= n

    td_error, td_error_std, explained = statistics(targets, values)
    shift, scale = 0.0, 1.0
    if normalize and n > 1:
        shift, scale = td_error, 1.0 / (td_error_std * math.sqrt(n / (n - 1.0)) + 1e-8)

    log_std = actor[n_actor - n_outputs :]
    log_std_grad = np.zeros(n_outputs, np.float32)
    actor_loss, entropy = 0.0, 0.0
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        activations = forward(actor_widths, actor, use_tanh, observations[begin:end])
        lanes = n_lanes(end - begin)
        outputs, deltas = activations[-n_outputs * lanes :], np.zeros(len(activations), np.float32)
        delta = deltas[-n_outputs * lanes :]
        for row in range(begin, end):
            advantage = np.float32((targets[row] - values[row] - shift) * scale)
            output, row_delta = outputs[row - begin :: lanes], delta[row - begin :: lanes]
            if len(action_masks) > 0:
                mask(output, action_masks[row], MASKED_LOGIT)
            if continuous:
                log_prob, row_entropy = gaussian(output, log_std, actions[row], advantage / n, row_delta, log_std_grad)
            else:
                log_prob, row_entropy = categorical(
                    output, int(actions[row, 0]), advantage / n, ent_coef / n, double_softmax, row_delta
                )
            actor_loss -= advantage * log_prob
            entropy += row_entropy
        backward(actor_widths, actor, use_tanh, activations, deltas, actor_grad)
    actor_loss /= n
    entropy_loss = -entropy / n
    if continuous:
        for k in range(n_outputs):
            actor_grad[n_actor - n_outputs + k] = log_std_grad[k] - np.float32(ent_coef)

    norm = math.sqrt(sum_of_squares(flat[1]))
    losses_are_finite = is_finite(actor_loss) and is_finite(critic_loss) and is_finite(ent_coef * entropy_loss)
    is_due = is_taken = losses_are_finite and is_finite(norm)
    if is_due:
        if max_grad_norm < norm + 1e-6:
            for i in range(flat.shape[1]):
                flat[1, i] *= np.float32(max_grad_norm / (norm + 1e-6))
        # this takes less time than keeping the first result, or what it replaces
        is_taken = stays_finite(actor, actor_grad, flat[2, :n_actor], flat[3, :n_actor], *actor_adam)
        is_taken &= stays_finite(critic, critic_grad, flat[2, n_actor:], flat[3, n_actor:], *critic_adam)
    if is_taken:
        adam(actor, actor_grad, flat[2, :n_actor], flat[3, :n_actor], *actor_adam)
        adam(critic, critic_grad, flat[2, n_actor:], flat[3, n_actor:], *critic_adam)
    metrics = (actor_loss, critic_loss, entropy_loss, norm, td_error, td_error_std, explained)
    return is_due, is_taken, targets, values, metrics


@compiled
def sum_of_squares(numbers):
    """Return the sum of the squares of a vector."""
    total = ZERO
    for i in range(len(numbers)):
        total += numbers[i] * numbers[i]
    return np.float64(total)


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
        delta[k] = without_tiny(np.float32(math.exp(log_p)))
        entropy -= delta[k] * log_p
    log_prob = logits[action] - log_total
    log_second, mean = ZERO, ZERO
    if double_softmax:
        # the logits are now the probabilities p; d/dz_k = p_k (g_k - sum_j g_j p_j) brings g = d/dp back to z
        second = ZERO
        for p in delta:
            second += np.float32(math.exp(p))
        log_second = np.float32(math.log(second))
        log_prob = np.float32(math.exp(log_prob)) - log_second
        for k in range(n_actions):
            mean += (np.float32(math.exp(delta[k] - log_second)) - np.float32(k == action)) * delta[k]
    for k in range(n_actions):
        p, log_p = delta[k], logits[k] - log_total
        slope = p - np.float32(k == action)
        if double_softmax:
            slope = p * (np.float32(math.exp(p - log_second)) - np.float32(k == action) - mean)
        delta[k] = without_tiny(advantage * slope + np.float32(ent_coef) * p * (log_p + entropy))
    return log_prob, entropy


@compiled
def without_tiny(x):
    """Return zero in place of a number that moves no parameter, since denormal numbers take ten times as long."""
    return ZERO if abs(x) < TINY else x


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
    total = ZERO
    for i in range(len(params)):
        # a moment is at most the largest gradient so far, and a step at most alpha_t / eps times the first moment
        change = np.float32(alpha_t / eps) * (abs(exp_avg[i]) + abs(grads[i]))
        total += abs(params[i]) + change + exp_avg_sq[i] + grads[i] * grads[i]
    if total < SAFE:
        return True
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
    # the moments of a dead unit decay to denormal numbers, and stay there
    exp_avg = without_tiny(exp_avg)
    exp_avg_sq = ZERO if exp_avg == ZERO and exp_avg_sq < TINY else exp_avg_sq
    param -= np.float32(alpha_t) * exp_avg / (np.float32(math.sqrt(exp_avg_sq)) + np.float32(eps))
    return param, exp_avg, exp_avg_sq
