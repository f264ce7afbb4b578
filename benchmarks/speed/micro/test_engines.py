"""Acting and updating with each engine on batches of several sizes.

``pytest benchmarks/speed/micro -n 0 --benchmark-enable --benchmark-columns=median,iqr,rounds``
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch as th
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

from sb3_a2c_td import TDA2C
from sb3_a2c_td.engines import numba_mlp, numpy_mlp
from sb3_a2c_td.engines.interface import LossConfig
from sb3_a2c_td.rollout.transitions import TransitionBuffer, Transitions

LOSS_CONFIG = LossConfig(
    gamma=0.99,
    reward_scale=0.01,
    bootstrap_on_truncation=False,
    double_softmax=False,
    ent_coef=0.0,
    max_grad_norm=None,
    normalize_advantage=False,
)
ENGINES = ("autograd", "numpy", "numba")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_engine_delegates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No engine leaves large batches to another one; one thread."""
    monkeypatch.setattr(numba_mlp, "MAX_ROWS", 2**62)
    monkeypatch.setattr(numpy_mlp, "MAX_PRODUCTS", 2**62)
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    with threadpool_limits(1):
        yield
    th.set_num_threads(n_threads)


def make(engine: str) -> Any:
    return TDA2C("MlpPolicy", "CartPole-v1", engine=engine, device="cpu")._engine


@pytest.mark.parametrize("n_envs", [1, 16, 1024])
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(group="acting")
def test_acting(benchmark: BenchmarkFixture, rng: np.random.Generator, name: str, n_envs: int) -> None:
    engine = make(name)
    observations = rng.normal(size=(n_envs, 4)).astype(np.float32)
    assert len(benchmark(engine.act, observations)) == n_envs


@pytest.mark.parametrize("n_rows", [5, 80, 320, 1280, 5120, 20480])
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(group="updating")
def test_updating(benchmark: BenchmarkFixture, rng: np.random.Generator, name: str, n_rows: int) -> None:
    engine = make(name)

    def fresh() -> tuple[tuple[TransitionBuffer, LossConfig], dict[str, Any]]:
        """Return another batch each time: on the same one gradients vanish, and denormal numbers are slow."""
        buffer = TransitionBuffer(n_rows)
        buffer.add(
            Transitions(
                rng.normal(size=(n_rows, 4)).astype(np.float32),
                rng.integers(0, 2, n_rows),
                rng.normal(size=n_rows).astype(np.float32),
                rng.normal(size=(n_rows, 4)).astype(np.float32),
                rng.random(n_rows) < 0.05,
                np.zeros(n_rows, bool),
            )
        )
        return (buffer, LOSS_CONFIG), {}

    update = benchmark.pedantic(engine.update, setup=fresh, rounds=100, warmup_rounds=10)  # type: ignore[no-untyped-call]
    assert update.targets.shape == (n_rows,)
