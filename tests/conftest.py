import os
from importlib.util import find_spec

import pytest
import torch as th
from hypothesis import settings

# the same examples in every run, without time limits; HYPOTHESIS_PROFILE=thorough for the slow tier
settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small networks are fastest, and sums always in the same order, on one thread."""
    th.set_num_threads(1)


# the extra [test] does not bring what these folders test
EXTRAS = {"benchmarks": "dask", "docs": "sphinx", "zoo": "rl_zoo3"}
collect_ignore = [folder for folder, module in EXTRAS.items() if find_spec(module) is None]
