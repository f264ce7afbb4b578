"""Acting and updating with each engine, and with one and several threads of PyTorch, on batches of several sizes.

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
from sb3_a2c_td.engines.random_streams import RandomStreams
from sb3_a2c_td.policies import threads
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
ALL_THREADS = th.get_num_threads()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_engine_delegates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No engine leaves large batches to another one; one thread."""
    monkeypatch.setattr(numba_mlp, "MAX_ROWS", 2**62)
    monkeypatch.setattr(numpy_mlp, "MAX_PRODUCTS", 2**62)
    monkeypatch.setattr(threads, "MAX_PRODUCTS_OF_ONE_THREAD", 0)
    th.set_num_threads(1)
    with threadpool_limits(1):
        yield
    th.set_num_threads(ALL_THREADS)


def make(engine: str, width: int | None = None) -> Any:
    policy_kwargs = {} if width is None else {"net_arch": [width, width]}
    return TDA2C("MlpPolicy", "CartPole-v1", engine=engine, device="cpu", policy_kwargs=policy_kwargs)._engine


def act(benchmark: BenchmarkFixture, rng: np.random.Generator, engine: Any, n_rows: int) -> None:
    observations = rng.normal(size=(n_rows, 4)).astype(np.float32)
    assert len(benchmark(engine.act, observations, RandomStreams.from_seed(0))) == n_rows


def update(benchmark: BenchmarkFixture, rng: np.random.Generator, engine: Any, n_rows: int, rounds: int) -> None:
    streams = RandomStreams.from_seed(0)

    def fresh() -> tuple[tuple[TransitionBuffer, LossConfig, RandomStreams], dict[str, Any]]:
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
        return (buffer, LOSS_CONFIG, streams), {}

    updated = benchmark.pedantic(engine.update, setup=fresh, rounds=rounds, warmup_rounds=rounds // 10)  # type: ignore[no-untyped-call]
    assert updated.targets.shape == (n_rows,)


@pytest.mark.parametrize("n_envs", [1, 16, 1024])
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(group="acting")
def test_acting(benchmark: BenchmarkFixture, rng: np.random.Generator, name: str, n_envs: int) -> None:
    act(benchmark, rng, make(name), n_envs)


@pytest.mark.parametrize("n_rows", [5, 80, 320, 1280, 5120, 20480])
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(group="updating")
def test_updating(benchmark: BenchmarkFixture, rng: np.random.Generator, name: str, n_rows: int) -> None:
    update(benchmark, rng, make(name), n_rows, rounds=100)


@pytest.mark.parametrize("n_threads", sorted({1, ALL_THREADS}))
@pytest.mark.parametrize(("width", "n_rows"), [(64, 256), (256, 64), (256, 256), (256, 1024), (1024, 64), (1024, 256)])
@pytest.mark.benchmark(group="acting with threads of PyTorch")
def test_acting_with_threads(
    benchmark: BenchmarkFixture, rng: np.random.Generator, width: int, n_rows: int, n_threads: int
) -> None:
    th.set_num_threads(n_threads)
    act(benchmark, rng, make("autograd", width), n_rows)


@pytest.mark.parametrize("n_threads", sorted({1, ALL_THREADS}))
@pytest.mark.parametrize(("width", "n_rows"), [(64, 256), (256, 64), (256, 256), (256, 1024), (1024, 64), (1024, 256)])
@pytest.mark.benchmark(group="updating with threads of PyTorch")
def test_updating_with_threads(
    benchmark: BenchmarkFixture, rng: np.random.Generator, width: int, n_rows: int, n_threads: int
) -> None:
    th.set_num_threads(n_threads)
    update(benchmark, rng, make("autograd", width), n_rows, rounds=20)
