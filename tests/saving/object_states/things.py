"""Objects for the tests of reading and writing states."""

import pickle
from enum import Enum
from typing import Any

from sb3_a2c_td.saving import restricted_loads
from sb3_a2c_td.saving.object_states import Reader, Writer


class Color(Enum):
    RED = 1
    BLUE = 2


class Slotted:
    __slots__ = ("__hidden", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.__hidden = 2 * number

    @property
    def hidden(self) -> int:
        return self.__hidden


class Thing:
    """Has any attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def moved(saved: Any, live: Any) -> Any:
    """Put one object into the other's state, as it comes back from a file."""
    state = restricted_loads(pickle.dumps(Reader().read(saved, "thing")))
    return Writer().write(state, live, "thing")
