"""The optional packages that exporting needs."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def explain_missing() -> Iterator[None]:
    """Add to import errors how to install the package."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}: exporting needs it, pip install 'sb3-a2c-td[export]'") from error
