"""The modules that need numba, an optional dependency."""

from types import ModuleType


def numba_modules() -> tuple[ModuleType, ModuleType]:
    """Import the modules ``functions`` and ``stepping``.

    :raises ImportError: if it is not installed
    """
    try:
        from sb3_a2c_td.compiled import functions, stepping
    except ImportError as error:
        raise ImportError(f'{error}: compiled environments need numba: pip install "sb3-a2c-td[fast]"') from error
    return functions, stepping
