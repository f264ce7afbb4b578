"""Runs exported actors, and compares them with their models."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch as th
from gymnasium import spaces

from sb3_a2c_td import TDA2C
from sb3_a2c_td.export import export_actor, load_actor
from sb3_a2c_td.rollout.observations import Observations


def drawn(space: spaces.Space[Any], n: int = 40) -> Observations:
    """Draw observations one by one, ``(n, *shape)`` or a dict of such arrays."""
    space.seed(7)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def run_onnx(path: Path, observations: Observations) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = observations if isinstance(observations, dict) else {"observation": observations}
    (actions,) = session.run(["action"], inputs)
    return actions


def run_loaded(path: Path, observations: Observations) -> np.ndarray:
    actor = load_actor(path)
    inputs = observations if isinstance(observations, dict) else {"observation": observations}
    with th.no_grad():
        return actor(*(th.as_tensor(inputs[name]) for name in actor.inputs)).numpy()


RUN = {"onnx": run_onnx, "safetensors": run_loaded}
FORMATS = [pytest.param("onnx", marks=pytest.mark.slow), "safetensors"]
"""for tests that show the same in both formats; each export to ONNX takes PyTorch a second"""


def assert_same_actions(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def assert_exports(model: TDA2C, path: Path, to: Any) -> None:
    export_actor(model, path, to)
    for n in (40, 1):
        observations = drawn(model.observation_space, n)
        assert_same_actions(RUN[to](path, observations), model.predict(observations, deterministic=True)[0])


def relu_network(layers: list[tuple[np.ndarray, np.ndarray]], observations: np.ndarray) -> np.ndarray:
    """Compute an MLP in numpy, from weights ``(n_out, n_in)`` and biases."""
    rows = observations
    for i, (weight, bias) in enumerate(layers):
        rows = rows @ weight.T + bias
        rows = np.maximum(rows, 0) if i < len(layers) - 1 else rows
    return rows
