import os
from functools import partial
from importlib.util import find_spec

import pytest
import torch as th
from hypothesis import settings

from sb3_a2c_td.engines.cuda_graph import CudaEngine, without_recording

# the same examples in every run, without time limits; HYPOTHESIS_PROFILE=thorough for the slow tier
settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small networks are fastest, and sums always in the same order, on one thread."""
    th.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu",
        default="auto",
        choices=["auto", "cuda", "cpu"],
        help='for tests marked "cuda". auto: skip them without a GPU; cuda: fail; cpu: rehearse them on the CPU',
    )


@pytest.fixture
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the device of a test marked ``cuda``: a GPU, or the CPU, where ``engine="cuda"`` records nothing."""
    device = request.config.getoption("--gpu")
    if device == "cpu":
        monkeypatch.setattr("sb3_a2c_td.engines.CudaEngine", partial(CudaEngine, record=without_recording))
        return "cpu"
    if not th.cuda.is_available():
        (pytest.skip if device == "auto" else pytest.fail)("PyTorch finds no GPU")
    return "cuda"


# the extra [test] does not bring what these folders test
EXTRAS = {"benchmarks": "dask", "docs": "sphinx", "zoo": "rl_zoo3"}
collect_ignore = [folder for folder, module in EXTRAS.items() if find_spec(module) is None]
