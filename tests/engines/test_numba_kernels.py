from itertools import pairwise

import numpy as np
import pytest

from sb3_a2c_td.engines import mlp_gradients, numba_kernels

WIDTHS = np.array([3, 5, 2])
N_LAYER_PARAMETERS = 5 * 4 + 2 * 6
N_ROWS = 6  # no multiple of the rows that a kernel takes at a time


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def network(params: np.ndarray, widths: np.ndarray) -> list[np.ndarray]:
    """Split flat parameters into weights and biases."""
    layers = []
    for n_in, n_out in pairwise(widths.tolist()):
        weight, bias, params = np.split(params, [n_out * n_in, n_out * (n_in + 1)])
        layers += [weight.reshape(n_out, n_in), bias]
    return layers


@pytest.mark.parametrize("widths", [[3, 5, 2], [9, 17, 8, 1], [16, 8, 3]])
@pytest.mark.parametrize("use_tanh", [False, True])
def test_outputs_and_gradients_are_those_of_numpy(use_tanh: bool, widths: list[int], rng: np.random.Generator) -> None:
    """With widths that are whole registers, and others."""
    layers = np.array(widths)
    params = rng.normal(size=numba_kernels.n_parameters(layers)).astype(np.float32)
    observations = rng.normal(size=(N_ROWS, widths[0])).astype(np.float32)
    h = mlp_gradients.forward(network(params, layers), observations, use_tanh)
    activations = numba_kernels.forward(layers, params, use_tanh, observations)
    lanes = len(activations) // sum(widths)
    outputs = activations.reshape(-1, lanes)[-widths[-1] :, :N_ROWS].T
    np.testing.assert_allclose(outputs, h[-1], rtol=1e-5, atol=5e-6)

    deltas, grads, expected = np.zeros_like(activations), np.zeros_like(params), np.zeros_like(params)
    delta = rng.normal(size=outputs.shape).astype(np.float32)
    deltas.reshape(-1, lanes)[-widths[-1] :, :N_ROWS] = delta.T
    numba_kernels.backward(layers, params, use_tanh, activations, deltas, grads)
    mlp_gradients.backward(network(params, layers), h, delta, use_tanh, network(expected, layers))
    np.testing.assert_allclose(grads, expected, rtol=1e-4, atol=1e-5)


def test_the_rows_of_a_large_batch_are_independent(rng: np.random.Generator) -> None:
    """Each action is the one that a row draws alone, whichever block and lane it is in."""
    n_rows = 2 * numba_kernels.BLOCK + 5
    params = rng.normal(size=N_LAYER_PARAMETERS + 2).astype(np.float32)
    observations = rng.normal(size=(n_rows, 3)).astype(np.float32)
    normals, gumbels = rng.normal(size=(n_rows, 2)), rng.gumbel(size=(n_rows, 2))
    masks = rng.random((n_rows, 2)) < 0.7
    means, _ = numba_kernels.draw_gaussian(WIDTHS, params, True, observations, normals)
    choices, _ = numba_kernels.draw_categorical(WIDTHS, params[:-2], True, observations, gumbels, masks)
    for row in range(n_rows):
        only = slice(row, row + 1)
        mean, _ = numba_kernels.draw_gaussian(WIDTHS, params, True, observations[only], normals[only])
        choice, _ = numba_kernels.draw_categorical(
            WIDTHS, params[:-2], True, observations[only], gumbels[only], masks[only]
        )
        np.testing.assert_array_equal(means[only], mean)
        np.testing.assert_array_equal(choices[only], choice)


def test_tanh_is_that_of_numpy() -> None:
    inputs = np.concatenate([np.linspace(-20, 20, 100_003), np.geomspace(1e-30, 10, 10_000), [np.inf, -np.inf]])
    outputs = inputs.astype(np.float32)
    numba_kernels.activate(outputs, 0, len(outputs), True)
    np.testing.assert_allclose(outputs, np.tanh(inputs.astype(np.float32).astype(np.float64)), rtol=1e-7)
    assert np.abs(outputs).max() <= 1.0  # so that its slope is not negative


@pytest.mark.parametrize("use_tanh", [False, True])
@pytest.mark.parametrize("n", [1, 9])
def test_activations_keep_nan(use_tanh: bool, n: int) -> None:
    outputs = np.full(n, np.nan, np.float32)
    numba_kernels.activate(outputs, 0, n, use_tanh)
    assert np.isnan(outputs).all()


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 20, N_LAYER_PARAMETERS - 1])
def test_outputs_that_are_not_finite_are_noticed(fault: float, place: int, rng: np.random.Generator) -> None:
    """In a weight or a bias of either layer."""
    params = rng.uniform(0.1, 1.0, N_LAYER_PARAMETERS + 2).astype(np.float32)
    observations = np.full((N_ROWS, 3), -1.0 if fault == -np.inf and place < 15 else 1.0, np.float32)
    noise = np.full((N_ROWS, 2), 0.5)
    assert numba_kernels.draw_categorical(WIDTHS, params[:-2], False, observations, noise, numba_kernels.NO_MASKS)[1]
    assert numba_kernels.draw_gaussian(WIDTHS, params, False, observations, noise)[1]
    params[place] = fault
    if fault == -np.inf and place == 15:
        params[20] = params[25] = fault  # ReLU turns minus infinity into zero, which is times infinity not a number
    assert not numba_kernels.draw_categorical(WIDTHS, params[:-2], False, observations, noise, numba_kernels.NO_MASKS)[
        1
    ]
    assert not numba_kernels.draw_gaussian(WIDTHS, params, False, observations, noise)[1]


@pytest.mark.parametrize("fault", [np.nan, np.inf])
@pytest.mark.parametrize("dimension", [0, 1])
def test_standard_deviations_that_are_not_finite_are_noticed(fault: float, dimension: int) -> None:
    params = np.zeros(N_LAYER_PARAMETERS + 2, np.float32)
    params[N_LAYER_PARAMETERS + dimension] = fault
    observations, noise = np.ones((N_ROWS, 3), np.float32), np.full((N_ROWS, 2), 0.5)
    assert not numba_kernels.draw_gaussian(WIDTHS, params, False, observations, noise)[1]


ADAM = (0.9, 0.999), 1e-3, 1e-7


def test_moments_of_a_dead_unit_become_zeros() -> None:
    """Denormal numbers would stay, and take ten times as long."""
    params, exp_avg, exp_avg_sq = np.ones(3, np.float32), np.float32([1.0, 1e-6, 0.0]), np.float32([1.0, 1e-9, 1e-29])
    for _ in range(60_000):
        numba_kernels.adam(params, np.float32([1.0, 0.0, 0.0]), exp_avg, exp_avg_sq, *ADAM)
    np.testing.assert_allclose([exp_avg[0], exp_avg_sq[0]], 1.0)
    assert exp_avg[1:].tolist() == exp_avg_sq[1:].tolist() == [0.0, 0.0]


def test_a_small_gradient_still_moves_the_moments() -> None:
    zeros = np.zeros((3, 1), np.float32)
    numba_kernels.adam(zeros[0], np.float32([1e-18]), zeros[1], zeros[2], *ADAM)
    np.testing.assert_allclose(zeros[1:, 0], [1e-19, 1e-39], rtol=0.01)


@pytest.mark.parametrize(
    ("param", "grad", "exp_avg", "exp_avg_sq"),
    [
        (3.4e38, 0.0, -3e37, 1e-12),
        (np.nan, 0.0, 0.0, 0.0),
        (0.0, np.nan, 0.0, 0.0),
        (0.0, 0.0, np.inf, 1.0),
        (0.0, 0.0, 0.0, np.inf),
    ],
)
def test_a_step_to_a_parameter_that_is_not_finite_is_noticed(
    param: float, grad: float, exp_avg: float, exp_avg_sq: float
) -> None:
    arrays = [np.float32([1.0, value]) for value in (param, grad, exp_avg, exp_avg_sq)]
    assert not numba_kernels.stays_finite(*arrays, *ADAM)
    numba_kernels.adam(*arrays, *ADAM)
    assert not np.isfinite(arrays[0]).all()


@pytest.mark.parametrize("size", [1e-3, 1e12, 1e36])
def test_a_step_between_finite_parameters_is_allowed(size: float) -> None:
    arrays = [
        np.full(3, size, np.float32),
        np.float32([1.0, -1.0, 0.0]),
        np.zeros(3, np.float32),
        np.ones(3, np.float32),
    ]
    assert numba_kernels.stays_finite(*arrays, *ADAM)
