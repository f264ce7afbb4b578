"""The comparison of an exported actor with its model."""

from collections.abc import Callable

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_a2c_td.export import ExportError, Normalization
from sb3_a2c_td.export.checking import check_actions, sampled_observations
from tests.export.models import DICT, MODELS, VECTOR

NARROW = spaces.Box(np.array([-1, -np.inf, -3e38], np.float32), np.array([1, np.inf, 3e38], np.float32))


def acting(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    model = MODELS[name]()
    check_actions(lambda observations: change(model.predict(observations, deterministic=True)[0]), model.policy)


def one_row(actions: np.ndarray) -> np.ndarray:
    """Change the action of one of many observations."""
    changed = actions.copy()
    if len(actions) > 1:
        changed[17] = (changed[17] + 1) % 2 if actions.dtype.kind == "i" or actions.ndim == 2 else changed[17] + 1e-2
    return changed


@pytest.mark.parametrize("name", ["discrete", "multi-discrete", "multi-binary", "box"])
def test_one_different_action_in_500_is_noticed(name: str) -> None:
    acting(name, lambda actions: actions)
    with pytest.raises(ExportError, match="differently from the model on 1 of 500 observations"):
        acting(name, one_row)


def test_a_single_observation_is_checked_too() -> None:
    with pytest.raises(ExportError, match="differently from the model on 1 of 1 observations"):
        acting("box", lambda actions: actions if len(actions) > 1 else actions + 1e-2)


@pytest.mark.parametrize(
    "change", [lambda actions: actions.astype(np.int32), lambda actions: actions[:, None]], ids=["dtype", "shape"]
)
def test_other_shapes_and_dtypes_are_noticed(change: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(ExportError, match=r"returns actions of shape .*, the model of shape \(500,\) and int64"):
        acting("discrete", change)


def test_actions_of_nan_are_noticed() -> None:
    with pytest.raises(ExportError, match="on 500 of 500"):
        acting("box", lambda actions: actions * np.nan)


def test_rounding_is_not_noticed() -> None:
    acting("box", lambda actions: actions * np.float32(1 + 1e-6))


def test_equally_likely_actions_may_differ() -> None:
    model = MODELS["discrete"]()
    with th.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.copy_(th.tensor([1.0, 1.0, 0.9]))
    check_actions(lambda observations: np.ones(len(observations), np.int64), model.policy)
    with pytest.raises(ExportError, match="on 500 of 500"):
        check_actions(lambda observations: np.full(len(observations), 2), model.policy)


@pytest.mark.parametrize(("name", "scale"), [("discrete", 1e-12), ("multi-discrete", 1e6), ("multi-binary", 1e-6)])
def test_differences_are_noticed_at_any_scale_of_the_logits(name: str, scale: float) -> None:
    model = MODELS[name]()
    with th.no_grad():
        for parameter in model.policy.action_net.parameters():
            parameter.mul_(scale)
    check_actions(lambda observations: model.predict(observations, deterministic=True)[0], model.policy)
    with pytest.raises(ExportError, match=r"on (49\d|500) of 500"):
        check_actions(lambda observations: (model.predict(observations, deterministic=True)[0] + 1) % 2, model.policy)


@pytest.mark.parametrize("name", ["discrete", "multi-binary", "box", "squashed"])
def test_models_with_nan_weights_are_named_in_one_line(name: str) -> None:
    model = MODELS[name]()
    with th.no_grad():
        model.policy.action_net.weight.fill_(np.nan)
    with pytest.raises(ExportError, match="the model's actions are not finite numbers on 500 of 500") as raised:
        check_actions(lambda observations: np.zeros(len(observations)), model.policy)
    assert "\n" not in str(raised.value)


def test_observations_come_from_the_whole_space() -> None:
    drawn = sampled_observations(NARROW, 500)
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == (500, 3)
    assert all(NARROW.contains(row) for row in drawn)
    # large observations would saturate every network
    assert np.abs(drawn).max() < 10
    assert np.ptp(drawn, axis=0).min() > 1.5
    of_dict = sampled_observations(DICT, 7)
    assert isinstance(of_dict, dict)
    assert list(of_dict) == list(DICT.spaces)
    assert all(DICT.contains({key: rows[i] for key, rows in of_dict.items()}) for i in range(7))


def test_observations_of_normalized_environments_come_from_around_their_means() -> None:
    normalization = Normalization({"observation": np.full(3, 50.0)}, {"observation": np.full(3, 4.0)}, 1e-8, 10.0)
    drawn = sampled_observations(VECTOR, 500, normalization)
    assert isinstance(drawn, np.ndarray)
    assert drawn.dtype == VECTOR.dtype
    np.testing.assert_allclose(drawn.mean(axis=0), 50, atol=1)
    np.testing.assert_allclose(drawn.std(axis=0), 3 * 2, atol=1)


def test_the_generator_of_the_space_is_not_used() -> None:
    VECTOR.seed(3)
    expected = VECTOR.sample()
    VECTOR.seed(3)
    sampled_observations(VECTOR, 5)
    np.testing.assert_array_equal(VECTOR.sample(), expected)
