"""Models load without trust although their environments or arguments held objects that need code."""

from collections import Counter, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor

from sb3_a2c_td import TDA2C
from tests.environments import CountingEnv
from tests.saving.models import load, saved, small


class Ending(Enum):
    GOAL = "goal"
    DATE = date(2026, 1, 1)


class Level(IntEnum):
    HARD = 3


class Keys(Flag):
    RED = 1
    BLUE = 2


class Name(str):
    pass


Place = namedtuple("Place", ["x", "y"])

SAVED_AS: dict[str, tuple[Any, Any]] = {
    "text of numpy": (np.str_("a"), "a"),
    "bytes of numpy": (np.bytes_(b"a"), b"a"),
    "texts of numpy": (np.array(["a", "b"]), ["a", "b"]),
    "objects of numpy": (np.array([1, None, "a"], object), [1, None, "a"]),
    "date of numpy": (np.datetime64("2026-01-02"), date(2026, 1, 2)),
    "nanoseconds of numpy": (np.timedelta64(3, "ns"), 3),
    "long double": (np.longdouble(0.5), np.float64(0.5)),
    "number of numpy": (np.float32(0.5), np.float32(0.5)),
    "enum": (Ending.GOAL, "goal"),
    "enum of a date": (Ending.DATE, date(2026, 1, 1)),
    "enum of integers": (Level.HARD, 3),
    "flags": (Keys.RED | Keys.BLUE, 3),
    "subclass of str": (Name("a"), "a"),
    "path": (Path("a/b"), str(Path("a/b"))),
    "UUID": (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "decimal": (Decimal("1.50"), Decimal("1.50")),
    "date": (date(2026, 12, 31), date(2026, 12, 31)),
    "date and time": (
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC, fold=1),
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC, fold=1),
    ),
    "date in a zone": (
        datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    ),
    "fraction": (Fraction(1, 3), "1/3"),
    "time": (time(23, 59, 58, 7), time(23, 59, 58, 7)),
    "duration": (timedelta(-3, 4, 5), timedelta(-3, 4, 5)),
    "time zone": (timezone(timedelta(hours=2), "here"), timezone(timedelta(hours=2), "here")),
    "named tuple": (Place(1, Level.HARD), (1, 3)),
    "counts": (Counter(a=1), {"a": 1}),
    "containers": (
        {"a": [Ending.GOAL, (Name("b"),), {np.str_("c")}, frozenset({4})]},
        {"a": ["goal", ("b",), {"c"}, frozenset({4})]},
    ),
}
"""values in infos, and what they are after saving and loading"""


class InfoEnv(CountingEnv):
    """Returns a value in its infos."""

    def __init__(self, value: Any) -> None:
        super().__init__(3)
        self.value = value

    def step(self, action: Any):
        *others, info = super().step(action)
        return *others, {**info, "value": self.value}


def trained_with(value: Any) -> TDA2C:
    env = Monitor(InfoEnv(value), info_keywords=("value",))
    return TDA2C("MlpPolicy", env, policy_kwargs={"net_arch": [2]}, device="cpu").learn(4)


@pytest.mark.parametrize("name", SAVED_AS)
def test_values_in_infos_are_saved_in_a_form_that_loads(name: str) -> None:
    value, expected = SAVED_AS[name]
    model = trained_with(value)
    buffer = load(saved(model)).ep_info_buffer
    assert isinstance(buffer, deque)
    assert buffer.maxlen == 100
    (info,) = buffer
    assert info["value"] == expected
    assert type(info["value"]) is type(expected)
    # saving changes nothing in the model itself
    assert model.ep_info_buffer is not None
    assert type(model.ep_info_buffer[0]["value"]) is type(value)


def test_successes_are_saved_in_a_form_that_loads() -> None:
    model = small().learn(8)
    assert model.ep_success_buffer is not None
    model.ep_success_buffer.append(Level.HARD)
    assert load(saved(model)).ep_success_buffer == deque([3], maxlen=100)


def test_models_are_saved_with_values_that_have_no_plain_form() -> None:
    endless: list[Any] = []
    endless.append(endless)
    buffer = load(saved(trained_with(endless)), trusted=True).ep_info_buffer
    assert buffer is not None
    loaded = buffer[0]["value"]
    assert loaded[0] is loaded


def test_the_log_folder_may_be_a_path(tmp_path: Path) -> None:
    loaded = load(saved(small(tensorboard_log=tmp_path)), trusted=True)
    assert loaded.tensorboard_log == str(tmp_path)
