"""Tokens stand for the functions and classes that a pickle names in order to call them."""

Name = tuple[str, str]
"""a module, and a name in it"""


class Token:
    """A name from a pickle. The token can do nothing by itself: only the unpickler resolves it, when it is called.

    :param module: the module
    :param name: the name in the module
    """

    def __init__(self, module: str, name: str) -> None:
        self.name: Name = module, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return ".".join(self.name)


def name_of(kind: type) -> Name:
    """Return the name by which pickles refer to a class.

    :param kind: the class
    """
    return kind.__module__, kind.__qualname__
