import pytest
import torch as th


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small networks are fastest, and sums always in the same order, on one thread."""
    th.set_num_threads(1)
