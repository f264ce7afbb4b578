import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from sb3_a2c_td.rollout.transitions import SB3_ATTRIBUTES, TransitionBuffer, Transitions


def some_transitions(n: int, seed: int = 0, dict_observations: bool = False) -> Transitions[np.ndarray]:
    rng = np.random.default_rng(seed)

    def observations() -> np.ndarray | dict[str, np.ndarray]:
        image = rng.integers(0, 256, (n, 3, 4, 4), dtype=np.uint8)
        return {"image": image, "number": rng.integers(0, 5, n)} if dict_observations else rng.random((n, 2))

    return Transitions(
        observations(),
        rng.integers(0, 2, n),
        rng.random(n, dtype=np.float32),
        observations(),
        rng.random(n) < 0.5,
        rng.random(n) < 0.5,
    )


def assert_same(first: Transitions[np.ndarray], second: Transitions[np.ndarray]) -> None:
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]:
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype


def concatenated(steps: list[Transitions[np.ndarray]]) -> Transitions[np.ndarray]:
    return Transitions._make(
        {key: np.concatenate([rows[key] for rows in field]) for key in field[0]}
        if isinstance(field[0], dict)
        else np.concatenate(field)
        for field in zip(*steps, strict=True)
    )


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8), dict_observations=st.booleans())
def test_transitions_returns_the_added_rows_in_order(sizes: list[int], dict_observations: bool) -> None:
    """A step may add any number of rows, as autoreset steps are dropped."""
    buffer = TransitionBuffer(capacity=sum(sizes))
    steps = [some_transitions(n, seed, dict_observations) for seed, n in enumerate(sizes)]
    for step in steps:
        buffer.add(step)
    assert buffer.n_steps == len(sizes)
    assert len(buffer) == sum(sizes)
    assert_same(buffer.transitions(), concatenated(steps))


def test_a_partly_filled_buffer_returns_its_rows() -> None:
    buffer = TransitionBuffer(capacity=100)
    buffer.add(some_transitions(3))
    assert_same(buffer.transitions(), some_transitions(3))
    tensors = buffer.tensors(th.device("cpu"))
    np.testing.assert_array_equal(tensors.rewards, some_transitions(3).rewards)


def test_arrays_are_allocated_once() -> None:
    buffer = TransitionBuffer(capacity=4)
    buffer.add(some_transitions(4))
    before = buffer.transitions()
    buffer.reset()
    assert len(buffer) == buffer.n_steps == 0
    buffer.add(some_transitions(4, seed=1))
    assert all(np.shares_memory(a, b) for a, b in zip(before, buffer.transitions(), strict=True))
    assert_same(buffer.transitions(), some_transitions(4, seed=1))


def test_added_rows_are_copied() -> None:
    buffer = TransitionBuffer(capacity=2)
    transitions = some_transitions(2)
    buffer.add(transitions)
    transitions.rewards[:] = 100.0
    assert_same(buffer.transitions(), some_transitions(2))


@pytest.mark.parametrize("dict_observations", [False, True])
def test_only_the_rows_in_use_are_pickled(dict_observations: bool) -> None:
    buffer = TransitionBuffer(capacity=10_000)
    buffer.add(some_transitions(2, 0, dict_observations))
    buffer.add(some_transitions(1, 1, dict_observations))
    data = pickle.dumps(buffer)
    assert len(data) < 5_000

    loaded = pickle.loads(data)
    loaded.make_room(6)
    assert loaded.n_steps == 2
    assert_same(loaded.transitions(), buffer.transitions())
    loaded.add(some_transitions(6, 2, dict_observations))
    assert len(loaded) == 9


def test_a_deep_copy_keeps_the_capacity() -> None:
    buffer = TransitionBuffer(capacity=4)
    buffer.add(some_transitions(2))
    twin = copy.deepcopy(buffer)
    twin.add(some_transitions(2, seed=1))
    assert (len(buffer), len(twin)) == (2, 4)


def test_an_empty_buffer_takes_rows_of_other_shapes_and_dtypes() -> None:
    """As after set_env() with VecNormalize."""
    buffer = TransitionBuffer(capacity=2)
    buffer.add(some_transitions(2)._replace(observations=np.zeros((2, 5), np.int64)))
    buffer.reset()
    buffer.add(some_transitions(2))
    assert_same(buffer.transitions(), some_transitions(2))


def test_additional_fields_are_kept() -> None:
    class Masked(NamedTuple):
        observations: np.ndarray
        rewards: np.ndarray
        masks: np.ndarray

    buffer = TransitionBuffer(capacity=2)
    buffer.add(Masked(np.zeros((2, 3)), np.zeros(2), np.ones((2, 4), bool)))
    assert buffer.transitions().masks.shape == (2, 4)
    assert buffer.tensors(th.device("cpu")).masks.dtype == th.bool


def test_an_empty_buffer_can_be_pickled() -> None:
    buffer = pickle.loads(pickle.dumps(TransitionBuffer(capacity=0)))
    buffer.make_room(3)
    buffer.add(some_transitions(3))
    assert len(buffer) == 3


def test_errors_name_the_mismatch() -> None:
    buffer = TransitionBuffer(capacity=3)
    with pytest.raises(ValueError, match="the buffer is empty"):
        buffer.transitions()
    buffer.add(some_transitions(2))
    with pytest.raises(ValueError, match="capacity=3"):
        buffer.add(some_transitions(2))
    with pytest.raises(ValueError, match="do not match the buffer's rows"):
        buffer.add(some_transitions(1)._replace(actions=np.zeros(2, np.int64)))
    with pytest.raises(
        ValueError, match=r"1 rows of .*'rewards': 'float32\[1\]'.*do not match.*'rewards': 'float32\[\]'"
    ):
        buffer.add(some_transitions(1)._replace(rewards=np.zeros((1, 1), np.float32)))
    with pytest.raises(ValueError, match=r"'actions': 'float64\[\]'.*do not match.*'actions': 'int64\[\]'"):
        buffer.add(some_transitions(1)._replace(actions=np.zeros(1)))
    assert_same(buffer.transitions(), some_transitions(2))


def one_row(observations: np.ndarray | dict[str, np.ndarray]) -> Transitions[np.ndarray]:
    end = np.zeros(1, bool)
    return Transitions(observations, np.zeros(1, np.int64), np.ones(1, np.float32), observations, end, end)


def test_refused_rows_leave_the_buffer_unchanged() -> None:
    buffer = TransitionBuffer(4)
    buffer.add(one_row(np.full((1, 2), 0.7, np.float32)))
    buffer.reset()
    bad = one_row(np.ones((1, 2), np.int64))._replace(actions=np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="do not match the buffer's rows"):
        buffer.add(bad)
    buffer.add(one_row(np.full((1, 2), 0.7, np.float32)))
    np.testing.assert_array_equal(buffer.transitions().observations, np.full((1, 2), 0.7, np.float32))


def test_rows_with_other_keys_are_refused() -> None:
    array = np.ones((1, 2), np.float32)
    for first, second in [({"a": array}, {"b": array}), (array, {"a": array}), ({"a": array}, array)]:
        buffer = TransitionBuffer(4)
        buffer.add(one_row(first))
        with pytest.raises(ValueError, match="do not match the buffer's rows"):
            buffer.add(one_row(second))
        buffer.reset()
        buffer.add(one_row(second))
        assert isinstance(buffer.transitions().observations, dict) == isinstance(second, dict)


def filled(observations: list[list[int]], next_observations: list[list[int]], as_dict: bool) -> TransitionBuffer:
    """Fill a buffer step by step with images that each show a number in one pixel."""

    def shown(numbers: list[int]) -> np.ndarray | dict[str, np.ndarray]:
        image = np.zeros((len(numbers), 3, 4, 4), np.uint8)
        image[:, 1, 2, 3] = numbers
        # either key may differ
        return {"tens": image // 10, "ones": np.array(numbers, np.uint8) % 10} if as_dict else image

    buffer = TransitionBuffer(capacity=sum(map(len, observations)))
    for seen, seen_next in zip(observations, next_observations, strict=True):
        step = some_transitions(len(seen))
        buffer.add(step._replace(observations=shown(seen), next_observations=shown(seen_next)))
    return buffer


@pytest.mark.parametrize("as_dict", [False, True])
def test_successors_are_the_same_environments_next_rows(as_dict: bool) -> None:
    """The second environment's episode ends with 49; the first one's last observation was never acted on."""
    buffer = filled([[10, 40], [11, 50], [12, 51]], [[11, 49], [12, 51], [13, 52]], as_dict)
    assert buffer.successors().tolist() == [2, -1, 4, 5, -1, -1]


@pytest.mark.parametrize("as_dict", [False, True])
def test_successors_compare_every_number(as_dict: bool) -> None:
    buffer = filled([[10], [21], [21], [22]], [[11], [20], [22], [23]], as_dict)
    assert buffer.successors().tolist() == [-1, -1, 3, -1]


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=6), seed=st.integers(0, 99), as_dict=st.booleans())
def test_successors_observe_the_next_observations(sizes: list[int], seed: int, as_dict: bool) -> None:
    rng = np.random.default_rng(seed)
    seen, seen_next = ([rng.integers(0, 2, size).tolist() for size in sizes] for _ in range(2))
    buffer = filled(seen, seen_next, as_dict)
    observations, next_observations = np.concatenate(seen), np.concatenate(seen_next)
    successors = buffer.successors()
    assert successors.shape == (sum(sizes),)
    found = successors >= 0
    np.testing.assert_array_equal(observations[successors[found]], next_observations[found])


def test_images_keep_their_memory_layout() -> None:
    """SB3 transposes images into views. Everything else is stored row by row."""
    images = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3).transpose(0, 3, 1, 2)
    vectors = np.arange(6.0).reshape(3, 2).T
    for observations, strides in ((images, images.strides), (vectors, (24, 8))):
        buffer = TransitionBuffer(capacity=8)
        step = some_transitions(2)._replace(observations=observations, next_observations=observations)
        buffer.add(step)
        buffer.add(step)
        stored = buffer.transitions().observations
        np.testing.assert_array_equal(stored, np.concatenate([observations, observations]))
        assert stored.strides == strides


def test_new_shapes_and_dtypes_are_checked() -> None:
    """Once, and before they are stored. The check is neither pickled nor copied."""
    seen = []

    def check(transitions: Transitions) -> None:
        seen.append(transitions.rewards.shape)
        if transitions.rewards.ndim > 1:
            raise ValueError("no")

    buffer = TransitionBuffer(capacity=10)
    buffer.check = check
    for n in (2, 2, 1, 1):
        buffer.add(some_transitions(n))
    with pytest.raises(ValueError, match="no"):
        buffer.add(some_transitions(1)._replace(rewards=np.zeros((1, 1))))
    buffer.add(some_transitions(1))
    assert seen == [(2,), (1,), (1, 1)]
    assert len(buffer) == buffer.n_steps + 2 == 7
    assert pickle.loads(pickle.dumps(buffer)).check is None
    buffer.make_room(3)
    assert buffer.check is None


@pytest.mark.parametrize("dict_observations", [False, True])
def test_the_rows_have_the_names_of_sb3s_buffer(dict_observations: bool) -> None:
    buffer, rows = TransitionBuffer(capacity=8), some_transitions(4, dict_observations=dict_observations)
    buffer.add(rows)
    assert_same(
        buffer.transitions()._replace(observations=buffer.observations, actions=buffer.actions, rewards=buffer.rewards),
        rows,
    )
    buffer.reset()
    assert len(buffer.rewards) == 0


def test_missing_attributes_of_sb3s_buffer_name_a_replacement() -> None:
    buffer = TransitionBuffer(capacity=8)
    missing = RolloutBuffer(1, spaces.Box(-1, 1), spaces.Discrete(2)).__dict__.keys() & SB3_ATTRIBUTES.keys()
    assert missing | {"get", "size", "compute_returns_and_advantage"} == SB3_ATTRIBUTES.keys()
    for name in SB3_ATTRIBUTES:
        with pytest.raises(AttributeError, match=f"^TransitionBuffer has no attribute '{name}'; .+"):
            getattr(buffer, name)
    with pytest.raises(AttributeError, match="^TransitionBuffer has no attribute 'generator_ready'$"):
        _ = buffer.generator_ready


def test_an_interrupt_while_room_is_made_loses_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = TransitionBuffer(capacity=2)
    buffer.add(some_transitions(2))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TransitionBuffer, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            buffer.make_room(4)
    assert (len(buffer), buffer.n_steps) == (2, 1)
    assert_same(buffer.transitions(), some_transitions(2))
