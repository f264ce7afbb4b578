import pytest
import torch as th
from hypothesis import settings

# no time limits, and the same examples in every run
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small networks are fastest, and sums always in the same order, on one thread."""
    th.set_num_threads(1)
