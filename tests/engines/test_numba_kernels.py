import numpy as np
import pytest

from sb3_a2c_td.engines import mlp_gradients, numba_kernels

WIDTHS = np.array([3, 5, 2])
N_LAYER_PARAMETERS = 5 * 4 + 2 * 6
N_ROWS = 6  # no multiple of the rows that a kernel takes at a time


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("use_tanh", [False, True])
def test_the_forward_pass_is_that_of_numpy(use_tanh: bool, rng: np.random.Generator) -> None:
    params = rng.normal(size=N_LAYER_PARAMETERS).astype(np.float32)
    network = [params[:15].reshape(5, 3), params[15:20], params[20:30].reshape(2, 5), params[30:]]
    observations = rng.normal(size=(N_ROWS, 3)).astype(np.float32)
    outputs, are_finite = numba_kernels.network_outputs(WIDTHS, params, use_tanh, observations)
    assert are_finite
    np.testing.assert_allclose(
        outputs[:N_ROWS, :2], mlp_gradients.forward(network, observations, use_tanh)[-1], rtol=1e-5, atol=1e-6
    )


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
