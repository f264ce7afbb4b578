"""What only exporting needs."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed() -> Iterator[None]:
    """Say how to get a package that is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}: exporting needs more packages, pip install 'sb3-a2c-td[export]'") from error
