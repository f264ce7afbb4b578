"""Objects are put into the states of others."""

import random
from collections import OrderedDict, deque
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from sb3_a2c_td.saving import UnreadableCheckpointError
from sb3_a2c_td.saving.object_states import CannotRestoreError, Reader, Writer
from sb3_a2c_td.saving.object_states.format import NOTHING, State
from tests.saving.object_states.things import Color, Slotted, Thing, moved


def test_attributes_of_every_kind_are_restored() -> None:
    saved = Thing(
        color=Color.BLUE,
        slotted=Slotted(3),
        queue=deque([1, 2], maxlen=3),
        ordered=OrderedDict(a=1),
        keys={(1, "a"): np.float32(2.0), 7: None},
        nested=([1, [2, np.arange(3)]], ("a",)),
        path=Path("levels/2"),
        new_path=PurePosixPath("levels/3"),
        legacy=np.random.RandomState(3),
        python=random.Random(3),
        philox=np.random.Generator(np.random.Philox(3)),
        lazy=np.random.default_rng(4),
        text=np.array([["ab", "c"]]),
        letters=np.array([b"a", b""]),
        word=np.str_("word"),
        half=np.zeros(2, np.float16),
        huge=2**200,
    )
    live = Thing(
        color=Color.RED,
        slotted=Slotted(1),
        python=random.Random(1),
        legacy=np.random.RandomState(1),
        philox=None,
        lazy=None,
        extra=1,
        path=Path("levels/1"),
    )
    found = moved(saved, live)
    assert found is live
    assert vars(found).keys() == vars(saved).keys()
    assert (found.color, found.slotted.number, found.slotted.hidden) == (Color.BLUE, 3, 6)
    assert (found.queue, found.queue.maxlen) == (deque([1, 2]), 3)
    assert (found.ordered, type(found.ordered)) == (OrderedDict(a=1), OrderedDict)
    assert found.new_path == Path("levels/3")
    for name in ("keys", "word", "huge", "path"):
        assert getattr(found, name) == getattr(saved, name)
        assert type(getattr(found, name)) is type(getattr(saved, name))
    for name in ("text", "letters", "half"):
        np.testing.assert_array_equal(getattr(found, name), getattr(saved, name), strict=True)
    np.testing.assert_equal(found.nested, saved.nested)
    assert found.legacy.rand() == saved.legacy.rand()
    assert found.python.random() == saved.python.random()
    assert found.philox.random() == saved.philox.random()
    assert found.lazy.random() == saved.lazy.random()


def test_shared_objects_stay_shared() -> None:
    generator, items = np.random.default_rng(0), [1]
    saved = Thing(a=generator, b=Thing(a=generator, items=items), items=items, array=np.zeros(2))
    saved.itself, saved.same_array = saved, saved.array
    live = Thing(a=np.random.default_rng(1), b=Thing(a=None, items=[]), items=[2], array=np.ones(2))
    found = moved(saved, live)
    assert found.a is found.b.a
    assert found.items is found.b.items
    assert found.itself is found
    assert found.same_array is found.array


def test_views_stay_views() -> None:
    state, fortran = np.arange(6.0), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    saved = Thing(
        position=state[1:3], state=state, backwards=state[::-2], grid=state.reshape(2, 3).T, other=fortran[1:]
    )
    live = Thing(position=np.zeros(2), state=None, backwards=None, grid=None, other=None)
    found = moved(saved, live)
    for name, array in vars(saved).items():
        np.testing.assert_array_equal(getattr(found, name), array)
        assert getattr(found, name).strides == array.strides
    found.state[:] = 7
    assert all((array == 7).all() for name, array in vars(found).items() if name != "other")
    assert not np.shares_memory(found.state, saved.state)


@pytest.mark.parametrize(("saved", "live"), [((1, 2), [3, 4]), ([1, 2], (3, 4)), ([1], deque([2])), ({"a": 1}, [2])])
def test_containers_get_the_type_that_was_saved(saved: Any, live: Any) -> None:
    found = moved(Thing(items=saved), Thing(items=live)).items
    assert found == saved
    assert type(found) is type(saved)


class Walker:
    """Moves by a method that is one of its attributes."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.phase = self.left

    def left(self) -> int:
        self.n -= 1
        return self.n

    def right(self) -> int:
        self.n += 1
        return self.n


def test_methods_are_those_of_the_restored_object() -> None:
    found = moved(Walker(5), Walker(0))
    assert (found.phase(), found.n) == (4, 4)
    saved = Walker(5)
    saved.phase = saved.right
    with pytest.raises(CannotRestoreError, match=r"^thing\.phase is not the method Walker\.right any more"):
        moved(saved, Walker(0))


def test_objects_that_were_not_shared_are_separated() -> None:
    items = [0]
    live = Thing(a=items, b=items)
    found = moved(Thing(a=[1], b=[2]), live)
    assert (found.a, found.b) == ([1], [2])


def test_the_saved_state_does_not_change_with_the_environment() -> None:
    thing = Thing(array=np.zeros(2), items=[1])
    state = Reader().read(thing, "thing")
    thing.array[:] = 1
    thing.items.append(2)
    found = Writer().write(state, Thing(array=None, items=None), "thing")
    assert (found.array.tolist(), found.items) == ([0.0, 0.0], [1])


@pytest.mark.parametrize(
    ("saved", "live", "message"),
    [
        (Thing(a=Thing()), Thing(), r"^thing\.a is missing; when it was saved it was a .*Thing"),
        (Thing(a=Thing()), Thing(a=Slotted(1)), r"^thing\.a is a .*Slotted; when it was saved it was a .*Thing"),
        (Thing(a=[Thing(), Thing()]), Thing(a=[Thing()]), r"^thing\.a\[0\] is missing"),
        (Thing(a=Color.RED), Thing(a=None), r"^thing\.a is missing; when it was saved it was RED"),
        (Thing(a=lambda: 1), Thing(), r"^thing\.a is missing"),
        (Thing(a=len), Thing(a=max), r"^thing\.a is builtins\.max; when it was saved it was builtins\.len"),
        (Thing(a=Thing), Thing(a=Slotted), r"^thing\.a is .*Slotted; when it was saved it was .*Thing"),
    ],
)
def test_objects_of_another_kind_cannot_be_written(saved: Thing, live: Thing, message: str) -> None:
    state = Reader().read(saved, "thing")
    with pytest.raises(CannotRestoreError, match=message):
        Writer().write(state, live, "thing")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (("text", ("<U400000000", (1,), b"abcd"), 1), "is damaged"),
        (("text", ("?", (3,), b"abc"), 1), "not a text"),
        (("view", (("array", np.zeros(2), 2), 0, (3,), (0,)), 1), "a view with more numbers than there are"),
        (("view", (("array", np.zeros(2), 2), 8, (2,), (8,)), 1), "is damaged"),
    ],
)
def test_states_of_arrays_beyond_their_bytes_are_refused(state: State, message: str) -> None:
    with pytest.raises(UnreadableCheckpointError, match=f"the saved state of thing.*{message}"):
        Writer().write(state, NOTHING, "thing")


@pytest.mark.parametrize(
    ("generator", "path"),
    [
        (np.random.RandomState(0), ("state", "pos")),
        (np.random.Generator(np.random.MT19937(0)), ("state", "pos")),
        (np.random.Generator(np.random.Philox(0)), ("buffer_pos",)),
    ],
)
@pytest.mark.parametrize("index", [-1, 10**6])
def test_states_of_generators_that_would_read_beyond_their_memory_are_refused(
    generator: Any, path: tuple[str, ...], index: int
) -> None:
    kind, state, number = Reader().read(generator, "thing")
    numbers = state
    for name in path[:-1]:
        numbers = numbers[name]
    numbers[path[-1]] = index
    with pytest.raises(UnreadableCheckpointError, match=f"generator's {path[-1]!r} is {index}; it must be from 0 to"):
        Writer().write((kind, state, number), None, "thing")


@pytest.mark.parametrize(
    ("generator", "name", "value"),
    [(np.random.Generator(np.random.PCG64(0)), "inc", 2), (np.random.RandomState(0), "key", np.zeros(624, np.uint32))],
)
def test_states_of_generators_that_would_repeat_one_number_are_refused(generator: Any, name: str, value: Any) -> None:
    kind, state, number = Reader().read(generator, "thing")
    state["state"][name] = value
    with pytest.raises(UnreadableCheckpointError, match="state would repeat one number forever"):
        Writer().write((kind, state, number), None, "thing")
