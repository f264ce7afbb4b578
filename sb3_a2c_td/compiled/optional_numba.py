"""The modules that need numba, an optional dependency."""

from types import ModuleType

from sb3_a2c_td import extras


def numba_modules() -> tuple[ModuleType, ModuleType]:
    """Import the modules ``functions`` and ``stepping``.

    :raises ImportError: if it is not installed
    """
    with extras.needed("fast", "a compiled environment"):
        from sb3_a2c_td.compiled import functions, stepping
    return functions, stepping
